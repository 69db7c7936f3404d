//! Lists.

use super::error::excerpt;
use super::{Serde, SerdeError};

/// `Vec<T>`, as Kafka's `ListSerializer` (KIP-466) writes it; with `List(Nullable(..))` some elements may be null.
///
/// | Elements | Bytes |
/// |---|---|
/// | [`I16`](super::I16), [`I32`](super::I32), [`I64`](super::I64), [`F32`](super::F32), [`F64`](super::F64), [`UuidText`](super::UuidText) | `00 [null count i32] [null index i32]* [size i32] [element]*`, nulls left out |
/// | any other | `01 [size i32] ([length i32] [element])*`, length -1 for null |
///
/// Either form is read, whichever the elements would be written in. Bytes behind the last element are ignored, as in Java.
///
/// ```
/// use streams_core::serdes::{I32, List, Nullable, Serde};
///
/// let serde = List(Nullable(I32));
/// let mut bytes = Vec::new();
/// serde.serialize(&vec![Some(1), None], &mut bytes)?;
/// assert_eq!(bytes, [0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1]);
/// assert_eq!(serde.deserialize(&bytes)?, [Some(1), None]);
/// # Ok::<(), streams_core::serdes::SerdeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct List<S>(
    /// The serde of the elements.
    pub S,
);

/// The first byte of a list whose elements are written without their lengths.
const CONSTANT_SIZE: u8 = 0;
/// The first byte of a list whose elements are written with their lengths.
const VARIABLE_SIZE: u8 = 1;
/// The length of a null element.
const NULL_LENGTH: i32 = -1;

impl<T, S: Serde<T>> Serde<Vec<T>> for List<S> {
    fn serialize(&self, value: &Vec<T>, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        match self.0.list_element_size_bytes() {
            Some(_) => self.serialize_constant_size(value, bytes),
            None => self.serialize_variable_size(value, bytes),
        }
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Vec<T>, SerdeError> {
        let mut value = Vec::new();
        self.deserialize_into(bytes, &mut value)?;
        Ok(value)
    }

    fn deserialize_into(&self, bytes: &[u8], value: &mut Vec<T>) -> Result<(), SerdeError> {
        value.clear();
        let mut reader = Reader { all: bytes, at: 0 };
        match reader.take(1)? {
            [CONSTANT_SIZE] => {
                let Some(element_size) = self.0.list_element_size_bytes() else {
                    return Err(SerdeError::new(
                        "the list's elements are of constant size, but the serde of its elements is not; \
                         use the serde it was written with",
                    ));
                };
                self.deserialize_constant_size(element_size, reader, value)
            }
            [VARIABLE_SIZE] => self.deserialize_variable_size(reader, value),
            _ => Err(reader.corrupt("it does not begin with 00 or 01")),
        }
    }
}

impl<S> List<S> {
    fn serialize_constant_size<T>(&self, value: &[T], bytes: &mut Vec<u8>) -> Result<(), SerdeError>
    where
        S: Serde<T>,
    {
        // The indexes of the nulls come before the elements but are only known behind them. They are put in at the
        // end; without nulls, which is nearly always, nothing moves.
        bytes.push(CONSTANT_SIZE);
        let nulls_at = bytes.len();
        bytes.extend_from_slice(&0_i32.to_be_bytes());
        bytes.extend_from_slice(&list_length(value.len())?.to_be_bytes());
        let mut nulls = Vec::new();
        for (index, element) in value.iter().enumerate() {
            if !self
                .0
                .serialize_nullable(element, bytes)
                .map_err(|error| in_element(index, error))?
            {
                nulls.push(list_length(index)?);
            }
        }
        if !nulls.is_empty() {
            let header = std::iter::once(list_length(nulls.len())?).chain(nulls);
            bytes.splice(
                nulls_at..nulls_at + size_of::<i32>(),
                header.flat_map(i32::to_be_bytes),
            );
        }
        Ok(())
    }

    fn serialize_variable_size<T>(&self, value: &[T], bytes: &mut Vec<u8>) -> Result<(), SerdeError>
    where
        S: Serde<T>,
    {
        bytes.push(VARIABLE_SIZE);
        bytes.extend_from_slice(&list_length(value.len())?.to_be_bytes());
        for (index, element) in value.iter().enumerate() {
            let length_at = bytes.len();
            bytes.extend_from_slice(&NULL_LENGTH.to_be_bytes());
            let begin = bytes.len();
            if self
                .0
                .serialize_nullable(element, bytes)
                .map_err(|error| in_element(index, error))?
            {
                let length = list_length(bytes.len() - begin)?;
                bytes[length_at..begin].copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(())
    }

    fn deserialize_constant_size<T>(
        &self,
        element_size: usize,
        mut reader: Reader<'_>,
        value: &mut Vec<T>,
    ) -> Result<(), SerdeError>
    where
        S: Serde<T>,
    {
        let null_count = reader.length("the number of its nulls")?;
        let mut nulls = reader.take(null_count.saturating_mul(size_of::<i32>()))?;
        let length = reader.length("the number of its elements")?;
        value.reserve(length);
        for index in 0..length {
            // Java writes the indexes of the nulls in ascending order.
            let is_null = nulls
                .first_chunk()
                .is_some_and(|&next| i32::from_be_bytes(next) as usize == index);
            let element = if is_null {
                nulls = &nulls[size_of::<i32>()..];
                None
            } else {
                Some(reader.take(element_size)?)
            };
            self.push(index, element, value)?;
        }
        if nulls.is_empty() {
            Ok(())
        } else {
            Err(reader.corrupt("the indexes of its nulls are not ascending"))
        }
    }

    fn deserialize_variable_size<T>(
        &self,
        mut reader: Reader<'_>,
        value: &mut Vec<T>,
    ) -> Result<(), SerdeError>
    where
        S: Serde<T>,
    {
        let length = reader.length("the number of its elements")?;
        value.reserve(length);
        for index in 0..length {
            let element = match reader.int()? {
                NULL_LENGTH => None,
                length => match usize::try_from(length) {
                    Ok(length) => Some(reader.take(length)?),
                    Err(_) => return Err(reader.corrupt("the length of an element is negative")),
                },
            };
            self.push(index, element, value)?;
        }
        Ok(())
    }

    fn push<T>(
        &self,
        index: usize,
        element: Option<&[u8]>,
        value: &mut Vec<T>,
    ) -> Result<(), SerdeError>
    where
        S: Serde<T>,
    {
        let element = self
            .0
            .deserialize_nullable(element)
            .map_err(|error| in_element(index, error))?;
        value.push(element);
        Ok(())
    }
}

#[cold]
#[inline(never)]
fn in_element(index: usize, error: SerdeError) -> SerdeError {
    error.context(format_args!("element {index} of the list"))
}

fn list_length(length: usize) -> Result<i32, SerdeError> {
    i32::try_from(length)
        .map_err(|_| SerdeError::new(format!("a list's lengths are i32, {length} is too long")))
}

/// The bytes of a list that are still to be read.
struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], SerdeError> {
        match self.at.checked_add(length) {
            Some(end) if end <= self.all.len() => {
                let taken = &self.all[self.at..end];
                self.at = end;
                Ok(taken)
            }
            _ => Err(self.corrupt(&format!("{length} more bytes were expected"))),
        }
    }

    fn int(&mut self) -> Result<i32, SerdeError> {
        let bytes = self.take(size_of::<i32>())?;
        Ok(i32::from_be_bytes(bytes.try_into().expect("4 were taken")))
    }

    /// A count that cannot be negative or larger than the whole list, so that corrupt bytes never reserve memory.
    fn length(&mut self, what: &str) -> Result<usize, SerdeError> {
        let length = self.int()?;
        match usize::try_from(length) {
            Ok(length) if length <= self.all.len() => Ok(length),
            _ => Err(self.corrupt(&format!("{what} is {length}"))),
        }
    }

    #[cold]
    #[inline(never)]
    fn corrupt(&self, why: &str) -> SerdeError {
        SerdeError::new(format!(
            "not a list as Kafka's ListSerializer writes it: at byte {} of {}, {why}: {}",
            self.at,
            self.all.len(),
            excerpt(self.all)
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::check;
    use super::super::{Bool, F64, I32, I64, Nullable, Utf8, UuidText};
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().filter(|digit| *digit != ' ').collect();
        digits
            .chunks(2)
            .map(|pair| {
                u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("hexadecimal")
            })
            .collect()
    }

    #[test]
    fn elements_of_constant_size_have_no_length() {
        check(
            &List(Nullable(I32)),
            vec![Some(1), None, Some(2)],
            &hex("00 00000001 00000001 00000003 00000001 00000002"),
            vec![None; 9],
        );
        check(
            &List(I32),
            vec![1, 2],
            &hex("00 00000000 00000002 00000001 00000002"),
            vec![],
        );
        check(&List(I64), vec![], &hex("00 00000000 00000000"), vec![4]);
        check(
            &List(Nullable(F64)),
            vec![None, None],
            &hex("00 00000002 00000000 00000001 00000002"),
            vec![],
        );
        assert_eq!(UuidText.list_element_size_bytes(), Some(36));
    }

    #[test]
    fn other_elements_have_a_length() {
        check(
            &List(Nullable(Utf8)),
            vec![Some("a".to_owned()), None, Some("bc".to_owned())],
            &hex("01 00000003 00000001 61 ffffffff 00000002 6263"),
            vec![],
        );
        check(
            &List(Utf8),
            vec![String::new()],
            &hex("01 00000001 00000000"),
            vec![],
        );
        // Java's list of primitive serdes has no boolean in it.
        check(
            &List(Bool),
            vec![true],
            &hex("01 00000001 00000001 01"),
            vec![],
        );
        check(
            &List(List(I32)),
            vec![vec![7]],
            &hex("01 00000001 0000000d 00 00000000 00000001 00000007"),
            vec![],
        );
    }

    #[test]
    fn either_form_is_read() {
        let with_lengths = hex("01 00000001 00000004 00000007");
        assert_eq!(List(I32).deserialize(&with_lengths).expect("list"), [7]);
        let error = List(Utf8)
            .deserialize(&hex("00 00000000 00000000"))
            .unwrap_err();
        assert!(error.to_string().contains("use the serde"), "{error}");
    }

    #[test]
    fn a_null_element_needs_an_option() {
        let error = List(Utf8)
            .deserialize(&hex("01 00000001 ffffffff"))
            .unwrap_err();
        assert!(error.is_null());
        assert!(
            error.to_string().starts_with("element 0 of the list: null"),
            "{error}"
        );
    }

    #[test]
    fn corrupt_bytes_are_an_error() {
        for bytes in [
            "",
            "02 00000000",
            "01",
            "01 ffffffff",
            "01 00000001",
            "01 7fffffff",
            "01 00000001 fffffffe",
            "01 00000001 00000002 61",
            "00 ffffffff 00000000",
            "00 7fffffff 00000000",
            "00 00000000 00000002 00000001",
            "00 00000001 00000005 00000001 00000001",
            "00 00000002 00000001 00000000 00000002",
        ] {
            assert!(
                List(Nullable(I32)).deserialize(&hex(bytes)).is_err(),
                "{bytes}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_list_comes_back(
            numbers: Vec<Option<i64>>,
            texts: Vec<Option<String>>,
            before: Vec<u8>,
        ) {
            let mut bytes = before.clone();
            List(Nullable(I64)).serialize(&numbers, &mut bytes).expect("serialize");
            let back = List(Nullable(I64)).deserialize(&bytes[before.len()..]);
            prop_assert_eq!(back.expect("deserialize"), numbers);
            bytes.truncate(before.len());
            List(Nullable(Utf8)).serialize(&texts, &mut bytes).expect("serialize");
            let back = List(Nullable(Utf8)).deserialize(&bytes[before.len()..]);
            prop_assert_eq!(back.expect("deserialize"), texts);
        }

        #[test]
        fn any_bytes_are_a_list_or_an_error(form in 0_u8..3, bytes: Vec<u8>) {
            let mut all = vec![form];
            all.extend(bytes);
            let _ = List(Nullable(I32)).deserialize(&all);
            let _ = List(Utf8).deserialize(&all);
        }
    }
}
