//! Functions of Rego whose results have no bound of their own: one call of them could fill the memory, or take for ever, and
//! the time limit does not interrupt a call. These stand in for the interpreter's, and fail where a result would be large.

use std::net::IpAddr;

use anyhow::{Result, bail};
use regorus::{Engine, Value};

use super::unreadable::has_long_number;

/// Longest list that one call may make: some MiB.
const MAX_LIST: i128 = 100_000;

/// Those that the interpreter has and that fail here, whatever they are called with.
pub(super) const LEFT_OUT: [&str; 2] = ["units.parse", "units.parse_bytes"];

/// Puts them in place of the interpreter's.
pub(super) fn replace(engine: &mut Engine) -> Result<()> {
    let range = |arguments: Vec<Value>| range(&arguments);
    engine.add_extension("numbers.range".to_owned(), 2, Box::new(range))?;
    engine.add_extension("numbers.range_step".to_owned(), 3, Box::new(range))?;
    engine.add_extension("bits.lsh".to_owned(), 2, Box::new(|arguments: Vec<Value>| shift(&arguments)))?;
    engine.add_extension(
        "net.cidr_expand".to_owned(),
        1,
        Box::new(|arguments: Vec<Value>| expand(&arguments)),
    )?;
    let number = |arguments: Vec<Value>| to_number(arguments.first());
    engine.add_extension("to_number".to_owned(), 1, Box::new(number))?;
    let parsed = |arguments: Vec<Value>| Value::from_json_str(readable(arguments.first())?);
    engine.add_extension("json.unmarshal".to_owned(), 1, Box::new(parsed))?;
    let is_valid = |arguments: Vec<Value>| {
        let text = readable(arguments.first());
        Ok(Value::from(text.is_ok_and(|text| Value::from_json_str(text).is_ok())))
    };
    engine.add_extension("json.is_valid".to_owned(), 1, Box::new(is_valid))?;
    for name in LEFT_OUT {
        engine.add_extension(name.to_owned(), 1, Box::new(move |_| bail!("{name} is left out")))?;
    }
    Ok(())
}

/// A text that may hold numbers, which may have come from the wire: one with an exponent of millions would be written out.
fn readable(value: Option<&Value>) -> Result<&str> {
    match value {
        Some(Value::String(text)) if has_long_number(text) => {
            bail!("a number is longer than any that is read")
        }
        Some(Value::String(text)) => Ok(text),
        _ => bail!("operand must be a string"),
    }
}

fn to_number(value: Option<&Value>) -> Result<Value> {
    match value {
        Some(Value::Null) => Ok(Value::from(0_u64)),
        Some(Value::Bool(flag)) => Ok(Value::from(u64::from(*flag))),
        Some(number @ Value::Number(_)) => Ok(number.clone()),
        text => match Value::from_json_str(readable(text)?) {
            Ok(number @ Value::Number(_)) => Ok(number),
            _ => bail!("could not parse string as number"),
        },
    }
}

fn integer(value: Option<&Value>) -> Result<i64> {
    match value.map(Value::as_i64) {
        Some(Ok(number)) => Ok(number),
        _ => bail!("operand must be an integer"),
    }
}

/// From one number to another, up or down, by a step or by one.
fn range(arguments: &[Value]) -> Result<Value> {
    let (first, last) = (integer(arguments.first())?, integer(arguments.get(1))?);
    let step = arguments.get(2).map_or(Ok(1), |step| integer(Some(step)))?;
    if step <= 0 {
        bail!("step must be a positive integer");
    }
    let (first, last, step) = (i128::from(first), i128::from(last), i128::from(step));
    let count = (last - first).abs() / step + 1;
    if count > MAX_LIST {
        bail!("makes a list of {count} numbers, more than {MAX_LIST}");
    }
    let step = if last < first { -step } else { step };
    Ok(Value::from((0..count).map(|n| Value::from(first + n * step)).collect::<Vec<_>>()))
}

fn shift(arguments: &[Value]) -> Result<Value> {
    let (number, by) = (integer(arguments.first())?, integer(arguments.get(1))?);
    let factor = u32::try_from(by).ok().filter(|by| *by < 64).and_then(|by| 1_i128.checked_shl(by));
    match factor {
        Some(factor) => Ok(Value::from(i128::from(number) * factor)),
        None => bail!("shifts by {by}, which is not between 0 and 63"),
    }
}

/// Every address of a network.
fn expand(arguments: &[Value]) -> Result<Value> {
    let Some(Value::String(text)) = arguments.first() else { bail!("operand must be a string") };
    let parts =
        text.split_once('/').map(|(address, prefix)| (address.parse::<IpAddr>(), prefix.parse::<u32>()));
    let Some((Ok(address), Ok(prefix))) = parts else { bail!("{text} is no network") };
    let (bits, number) = match address {
        IpAddr::V4(v4) => (32, u128::from(v4.to_bits())),
        IpAddr::V6(v6) => (128, v6.to_bits()),
    };
    let Some(free) = u32::checked_sub(bits, prefix) else { bail!("{text} is no network") };
    let count = 1_u128.checked_shl(free).filter(|count| i128::try_from(*count).is_ok_and(|n| n <= MAX_LIST));
    let Some(count) = count else { bail!("{text} has more than {MAX_LIST} addresses") };
    let first = number & !(count - 1);
    let name = |number: u128| match u32::try_from(number) {
        Ok(number) if address.is_ipv4() => IpAddr::from(number.to_be_bytes()).to_string(),
        _ => IpAddr::from(number.to_be_bytes()).to_string(),
    };
    Ok(Value::from((0..count).map(|n| Value::from(name(first + n))).collect::<Vec<_>>()))
}
