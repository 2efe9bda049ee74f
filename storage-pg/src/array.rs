//! Arrays of one dimension in their binary form.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;

use crate::pg_type::PgValue;

/// Dimensions, whether there are nulls, the type of elements; for each dimension its length and first
/// index; for each element its length, -1 for null, and its bytes.
pub(crate) fn write<'a>(
    element: u32,
    values: impl ExactSizeIterator<Item = PgValue<'a>>,
    buffer: &mut Vec<u8>,
) -> Result<(), BoxDynError> {
    let dimensions = i32::from(values.len() > 0);
    buffer.extend_from_slice(&dimensions.to_be_bytes());
    buffer.extend_from_slice(&0_i32.to_be_bytes());
    buffer.extend_from_slice(&element.to_be_bytes());
    if dimensions == 1 {
        buffer.extend_from_slice(&i32::try_from(values.len())?.to_be_bytes());
        buffer.extend_from_slice(&1_i32.to_be_bytes());
    }
    for value in values {
        let start = buffer.len();
        buffer.extend_from_slice(&(-1_i32).to_be_bytes());
        if matches!(value.write(buffer)?, IsNull::No) {
            let length = i32::try_from(buffer.len() - start - 4)?;
            buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
    }
    Ok(())
}

/// The elements of an array; those that are null are none.
pub(crate) fn elements(bytes: &[u8]) -> Option<Elements<'_>> {
    let (dimensions, rest) = split_number(bytes)?;
    let (_has_nulls, rest) = split_number(rest)?;
    let (_element, rest) = split_number(rest)?;
    if dimensions == 0 {
        return Some(Elements { rest: &[] });
    }
    let (_length, rest) = split_number(rest)?;
    let (_first, rest) = split_number(rest)?;
    (dimensions == 1).then_some(Elements { rest })
}

/// Iterates over the elements of an array.
pub(crate) struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = split_number(self.rest)?;
        let Ok(length) = usize::try_from(length) else {
            self.rest = rest;
            return Some(None);
        };
        let (element, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Some(element))
    }
}

fn split_number(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(values in prop::collection::vec(prop::option::of(any::<Vec<u8>>()), 0..20)) {
            let encoded = values.iter().map(|value| value.as_deref().map_or(PgValue::Null, PgValue::Bytes));
            let mut bytes = Vec::new();
            write(17, encoded, &mut bytes).unwrap();
            let read: Vec<_> = elements(&bytes).unwrap().map(|element| element.map(<[u8]>::to_vec)).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            let _ = elements(&bytes).map(Iterator::count);
        }
    }
}
