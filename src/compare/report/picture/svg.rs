//! A scene as SVG, its texts as text.

use maud::{Markup, html};

use super::paint::Paint;
use super::{Anchor, Scene, Shape};

/// The picture, for a page or, with a line end, for a file.
pub(crate) fn svg(scene: &Scene) -> Markup {
    let (width, height) = (scene.width, scene.height);
    html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) }
            role="img" font-family="'DejaVu Sans Mono', Menlo, Consolas, monospace" {
            title { (scene.title) }
            @for one in &scene.shapes { "\n" (shape(one)) }
            "\n"
        }
    }
}

fn shape(shape: &Shape) -> Markup {
    match shape {
        Shape::Rectangle {
            x,
            y,
            width,
            height,
            paint,
        } => html! {
            rect x=(short(*x)) y=(short(*y)) width=(short(*width)) height=(short(*height)) class=(paint.class())
                fill=(colour(*paint)) fill-opacity=[opacity(*paint)] {}
        },
        Shape::Dot {
            x,
            y,
            radius,
            paint,
        } => html! {
            circle cx=(short(*x)) cy=(short(*y)) r=(short(*radius)) class=(paint.class()) fill=(colour(*paint))
                fill-opacity=[opacity(*paint)] {}
        },
        Shape::Text {
            x,
            y,
            size,
            anchor,
            paint,
            text,
        } => html! {
            text x=(short(*x)) y=(short(*y)) font-size=(short(*size)) text-anchor=[anchor_word(*anchor)]
                class=(paint.class()) fill=(colour(*paint)) { (text) }
        },
    }
}

/// A length in tenths of a pixel.
fn short(length: f32) -> String {
    let text = format!("{length:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// On white; a page overrides it in the dark.
fn colour(paint: Paint) -> String {
    Paint::hex(paint.colours().0)
}

fn opacity(paint: Paint) -> Option<f32> {
    Some(paint.opacity()).filter(|opacity| *opacity < 1.0)
}

fn anchor_word(anchor: Anchor) -> Option<&'static str> {
    match anchor {
        Anchor::Start => None,
        Anchor::Middle => Some("middle"),
        Anchor::End => Some("end"),
    }
}
