//! A scene as PNG, twice as large, with letters of its own: a machine that measures has no fonts.

use ab_glyph::{Font, FontRef, PxScale, point};
use tiny_skia::{
    Color, FillRule, Paint as Brush, PathBuilder, Pixmap, PremultipliedColorU8, Rect, Transform,
};

use super::{Anchor, Paint, Scene, Shape};

/// Device pixels for each of the scene's: what screens have now.
const SCALE: f32 = 2.0;

/// The file's bytes.
///
/// # Errors
/// When the scene has no size, or more than there is memory for.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn png(scene: &Scene) -> Result<Vec<u8>, String> {
    let font = FontRef::try_from_slice(dejavu::sans_mono::regular());
    let font = font.map_err(|error| error.to_string())?;
    let size = |length: f32| (length * SCALE).ceil() as u32;
    let pixmap = Pixmap::new(size(scene.width), size(scene.height));
    let mut pixmap = pixmap.ok_or_else(|| "it has no size".to_owned())?;
    let [red, green, blue] = Paint::Paper.colour();
    pixmap.fill(Color::from_rgba8(red, green, blue, u8::MAX));
    for shape in &scene.shapes {
        match shape {
            Shape::Rectangle {
                x,
                y,
                width,
                height,
                paint,
            } => {
                if let Some(area) = Rect::from_xywh(*x, *y, *width, *height) {
                    pixmap.fill_rect(
                        area,
                        &brush(*paint),
                        Transform::from_scale(SCALE, SCALE),
                        None,
                    );
                }
            }
            Shape::Dot {
                x,
                y,
                radius,
                paint,
            } => {
                if let Some(disc) = PathBuilder::from_circle(*x, *y, *radius) {
                    let scale = Transform::from_scale(SCALE, SCALE);
                    pixmap.fill_path(&disc, &brush(*paint), FillRule::Winding, scale, None);
                }
            }
            Shape::Text {
                x,
                y,
                size,
                anchor,
                paint,
                text,
            } => {
                let at = (x * SCALE, y * SCALE);
                write(&mut pixmap, &font, text, at, size * SCALE, *anchor, *paint);
            }
        }
    }
    encode(&pixmap).map_err(|error| error.to_string())
}

/// As small as it gets: it may go into a repository. Nothing shines through it.
fn encode(pixmap: &Pixmap) -> Result<Vec<u8>, png::EncodingError> {
    let pixels = pixmap.pixels().iter();
    let pixels = pixels.flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, pixmap.width(), pixmap.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Best);
    encoder.set_filter(png::FilterType::Up);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels.collect::<Vec<_>>())?;
    writer.finish()?;
    Ok(bytes)
}

fn brush(paint: Paint) -> Brush<'static> {
    let mut brush = Brush::default();
    let [red, green, blue] = paint.colour();
    let mut colour = Color::from_rgba8(red, green, blue, u8::MAX);
    colour.set_alpha(paint.opacity());
    brush.set_color(colour);
    brush.anti_alias = true;
    brush
}

/// Writes a line of text, a letter after the other: all are of one width.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]
fn write(
    pixmap: &mut Pixmap,
    font: &FontRef,
    text: &str,
    at: (f32, f32),
    size: f32,
    anchor: Anchor,
    paint: Paint,
) {
    let em = font.units_per_em().unwrap_or(1000.0);
    let scale = PxScale::from(size * font.height_unscaled() / em);
    let advance = size * font.h_advance_unscaled(font.glyph_id('0')) / em;
    let length = advance * text.chars().count() as f32;
    let start = match anchor {
        Anchor::Start => at.0,
        Anchor::Middle => at.0 - length / 2.0,
        Anchor::End => at.0 - length,
    };
    let colour = paint.colour();
    for (place, letter) in text.chars().enumerate() {
        let position = point(start + advance * place as f32, at.1);
        let glyph = font.glyph_id(letter);
        let glyph = glyph.with_scale_and_position(scale, position);
        let Some(outline) = font.outline_glyph(glyph) else {
            continue; // a space
        };
        let corner = outline.px_bounds().min;
        outline.draw(|x, y, coverage| {
            tint(
                pixmap,
                (corner.x as i32, corner.y as i32),
                (x, y),
                colour,
                coverage,
            );
        });
    }
}

/// Covers a part of a pixel, if the picture has it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn tint(pixmap: &mut Pixmap, corner: (i32, i32), at: (u32, u32), colour: [u8; 3], coverage: f32) {
    let place = || {
        let x = u32::try_from(corner.0).ok()?.checked_add(at.0)?;
        let y = u32::try_from(corner.1).ok()?.checked_add(at.1)?;
        (x < pixmap.width()).then_some(y as usize * pixmap.width() as usize + x as usize)
    };
    let Some(place) = place() else { return };
    let Some(pixel) = pixmap.pixels_mut().get_mut(place) else {
        return;
    };
    let coverage = coverage.clamp(0.0, 1.0);
    let mix = |under: u8, over: u8| {
        (f32::from(under) + (f32::from(over) - f32::from(under)) * coverage).round() as u8
    };
    let [red, green, blue] = colour;
    let (red, green, blue) = (
        mix(pixel.red(), red),
        mix(pixel.green(), green),
        mix(pixel.blue(), blue),
    );
    if let Some(mixed) = PremultipliedColorU8::from_rgba(red, green, blue, u8::MAX) {
        *pixel = mixed;
    }
}
