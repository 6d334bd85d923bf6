//! Assignments to paths and removals of them, as jq has them: what is missing on the way is made.

use jaq_core::Error;
use jaq_json::{Map, Num, Rc, Val};
use jaq_std::ValT;

use super::write::{Style, kind};

/// jq has the same limit.
const MAX_INDEX: f64 = 536_870_911.0;

fn cannot_index(value: &Val, step: &Val) -> Error<Val> {
    let mut name = Vec::new();
    Style::compact().write(&mut name, step);
    let (value, step_kind) = (kind(value), kind(step));
    let name = String::from_utf8_lossy(&name);
    Error::str(match step {
        Val::TStr(_) | Val::Num(_) => format!("Cannot index {value} with {step_kind} ({name})"),
        _ => format!("Cannot index {value} with {step_kind}"),
    })
}

fn float(number: &Num) -> f64 {
    Val::Num(number.clone()).as_f64().unwrap_or(f64::NAN)
}

/// `value` with `new` at `path`.
pub(crate) fn set(value: Val, path: &[Val], new: Val) -> Result<Val, Error<Val>> {
    let Some((step, rest)) = path.split_first() else {
        return Ok(new);
    };
    match (value, step) {
        (Val::Null, Val::TStr(_)) => set(Val::obj(Map::default()), path, new),
        (Val::Null, Val::Num(_) | Val::Obj(_)) => set(Val::Arr(Rc::default()), path, new),
        (Val::Obj(mut members), Val::TStr(_)) => {
            let all = Rc::make_mut(&mut members);
            let place = all.entry(step.clone()).or_insert(Val::Null);
            *place = set(std::mem::take(place), rest, new)?;
            Ok(Val::Obj(members))
        }
        (Val::Arr(mut values), Val::Num(number)) => {
            let index = place_of(float(number), values.len())?;
            let all = Rc::make_mut(&mut values);
            if all.len() <= index {
                all.resize(index + 1, Val::Null);
            }
            if let Some(place) = all.get_mut(index) {
                *place = set(std::mem::take(place), rest, new)?;
            }
            Ok(Val::Arr(values))
        }
        (Val::Arr(mut values), Val::Obj(bounds)) => {
            let (start, end) = slice(bounds, values.len());
            let part = values.get(start..end).unwrap_or_default();
            let part = set(part.iter().cloned().collect(), rest, new)?;
            let Val::Arr(part) = part else {
                return Err(Error::str(
                    "A slice of an array can only be assigned another array",
                ));
            };
            Rc::make_mut(&mut values).splice(start..end, part.iter().cloned());
            Ok(Val::Arr(values))
        }
        (value, step) => Err(cannot_index(&value, step)),
    }
}

// The number is in the range of an index.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]
fn place_of(number: f64, length: usize) -> Result<usize, Error<Val>> {
    if number.is_nan() {
        return Err(Error::str("Cannot set array element at NaN index"));
    }
    let number = number.floor();
    let number = if number < 0.0 {
        number + length as f64
    } else {
        number
    };
    match number {
        ..0.0 => Err(Error::str("Out of bounds negative array index")),
        number if number > MAX_INDEX => Err(Error::str("Array index too large")),
        number => Ok(number as usize),
    }
}

/// The borders of `{"start": 1, "end": null}` in an array.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]
fn slice(bounds: &Map, length: usize) -> (usize, usize) {
    let bound = |name: &str, default: f64, round: fn(f64) -> f64| {
        let number = match bounds.get(&Val::from(name.to_owned())) {
            Some(Val::Num(number)) => float(number),
            _ => default,
        };
        let number = if number.is_nan() {
            default
        } else {
            round(number)
        };
        let number = if number < 0.0 {
            number + length as f64
        } else {
            number
        };
        number.clamp(0.0, length as f64) as usize
    };
    let start = bound("start", 0.0, f64::floor);
    (start, bound("end", length as f64, f64::ceil).max(start))
}

/// `value` without what is at `paths`.
pub(crate) fn remove(value: Val, paths: &Val) -> Result<Val, Error<Val>> {
    let Val::Arr(paths) = paths else {
        return Err(Error::str("Paths must be specified as an array"));
    };
    let mut paths = paths.to_vec();
    paths.sort();
    let mut value = value;
    // From the last on, so that the indices of the others stay right.
    for path in paths.iter().rev() {
        let Val::Arr(path) = path else {
            return Err(Error::str("Path must be specified as an array"));
        };
        value = remove_one(value, path)?;
    }
    Ok(value)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]
fn remove_one(value: Val, path: &[Val]) -> Result<Val, Error<Val>> {
    let Some((step, rest)) = path.split_first() else {
        return Ok(Val::Null);
    };
    match (value, step) {
        (Val::Null, _) => Ok(Val::Null),
        (Val::Obj(mut members), Val::TStr(_)) => {
            let all = Rc::make_mut(&mut members);
            if rest.is_empty() {
                all.shift_remove(step);
            } else if let Some(place) = all.get_mut(step) {
                *place = remove_one(std::mem::take(place), rest)?;
            }
            Ok(Val::Obj(members))
        }
        (Val::Arr(mut values), Val::Num(number)) => {
            let number = float(number).floor();
            let number = if number < 0.0 {
                number + values.len() as f64
            } else {
                number
            };
            let is_there = number >= 0.0 && number < values.len() as f64;
            let all = Rc::make_mut(&mut values);
            if is_there && rest.is_empty() {
                all.remove(number as usize);
            } else if is_there && let Some(place) = all.get_mut(number as usize) {
                *place = remove_one(std::mem::take(place), rest)?;
            }
            Ok(Val::Arr(values))
        }
        (Val::Arr(mut values), Val::Obj(bounds)) => {
            let (start, end) = slice(bounds, values.len());
            if rest.is_empty() {
                Rc::make_mut(&mut values).drain(start..end);
                return Ok(Val::Arr(values));
            }
            let part = values.get(start..end).unwrap_or_default();
            let part = remove_one(part.iter().cloned().collect(), rest)?;
            if let Val::Arr(part) = part {
                Rc::make_mut(&mut values).splice(start..end, part.iter().cloned());
            }
            Ok(Val::Arr(values))
        }
        (value, step) => Err(cannot_delete(&value, step)),
    }
}

fn cannot_delete(value: &Val, step: &Val) -> Error<Val> {
    let (value, step_kind) = (kind(value), kind(step));
    Error::str(match step {
        Val::TStr(_) => format!("Cannot delete field at object index of {value}"),
        Val::Num(_) => format!("Cannot delete field at array index of {value}"),
        _ => format!("Cannot delete field at {step_kind} index of {value}"),
    })
}
