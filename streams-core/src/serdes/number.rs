//! Numbers and truth values of fixed width.

use super::error::excerpt;
use super::{DefaultSerde, Serde, SerdeError};

#[cold]
#[inline(never)]
fn wrong_length(what: &str, size: usize, bytes: &[u8]) -> SerdeError {
    SerdeError::new(format!(
        "{what} is {size} bytes, big-endian; got {} bytes: {}",
        bytes.len(),
        excerpt(bytes)
    ))
}

macro_rules! big_endian {
    ($($(#[$doc:meta])* $serde:ident: $type:ty, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $serde;

        impl Serde<$type> for $serde {
            fn serialize(&self, value: &$type, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
                bytes.extend_from_slice(&value.to_be_bytes());
                Ok(())
            }

            fn deserialize(&self, bytes: &[u8]) -> Result<$type, SerdeError> {
                match bytes.try_into() {
                    Ok(array) => Ok(<$type>::from_be_bytes(array)),
                    Err(_) => Err(wrong_length($what, size_of::<$type>(), bytes)),
                }
            }

            fn list_element_size_bytes(&self) -> Option<usize> {
                Some(size_of::<$type>())
            }
        }

        impl DefaultSerde for $type {
            type Serde = $serde;
        }
    )*};
}

big_endian! {
    /// `i16` in 2 bytes, big-endian, as Kafka's `ShortSerializer` writes it.
    ///
    /// ```
    /// use streams_core::serdes::{I16, Serde};
    ///
    /// assert_eq!(I16.deserialize(&[0xff, 0xfe])?, -2);
    /// # Ok::<(), streams_core::serdes::SerdeError>(())
    /// ```
    I16: i16, "an i16";
    /// `i32` in 4 bytes, big-endian, as Kafka's `IntegerSerializer` writes it.
    ///
    /// ```
    /// use streams_core::serdes::{I32, Serde};
    ///
    /// assert_eq!(I32.deserialize(&[0, 0, 1, 0])?, 256);
    /// # Ok::<(), streams_core::serdes::SerdeError>(())
    /// ```
    I32: i32, "an i32";
    /// `i64` in 8 bytes, big-endian, as Kafka's `LongSerializer` writes it.
    ///
    /// ```
    /// use streams_core::serdes::{I64, Serde};
    ///
    /// assert_eq!(I64.deserialize(&[0, 0, 0, 0, 0, 0, 0, 42])?, 42);
    /// # Ok::<(), streams_core::serdes::SerdeError>(())
    /// ```
    I64: i64, "an i64";
    /// `f32` as its IEEE bits in 4 bytes, big-endian, as Kafka's `FloatSerializer` writes it.
    ///
    /// ```
    /// use streams_core::serdes::{F32, Serde};
    ///
    /// assert_eq!(F32.deserialize(&[0x3f, 0xc0, 0, 0])?, 1.5);
    /// # Ok::<(), streams_core::serdes::SerdeError>(())
    /// ```
    F32: f32, "an f32";
    /// `f64` as its IEEE bits in 8 bytes, big-endian, as Kafka's `DoubleSerializer` writes it.
    ///
    /// ```
    /// use streams_core::serdes::{F64, Serde};
    ///
    /// assert_eq!(F64.deserialize(&[0x3f, 0xf8, 0, 0, 0, 0, 0, 0])?, 1.5);
    /// # Ok::<(), streams_core::serdes::SerdeError>(())
    /// ```
    F64: f64, "an f64";
}

/// `bool` as `01` or `00`, as Kafka's `BooleanSerializer` writes it.
///
/// ```
/// use streams_core::serdes::{Bool, Serde};
///
/// assert!(Bool.deserialize(&[1])?);
/// # Ok::<(), streams_core::serdes::SerdeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Bool;

impl Serde<bool> for Bool {
    fn serialize(&self, value: &bool, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        bytes.push(u8::from(*value));
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<bool, SerdeError> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(SerdeError::new(format!(
                "a bool is one byte, 00 or 01; got {} bytes: {}",
                bytes.len(),
                excerpt(bytes)
            ))),
        }
    }
}

impl DefaultSerde for bool {
    type Serde = Bool;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::check;
    use super::*;

    #[test]
    fn numbers_are_big_endian() {
        check(&I16, -2, &[0xff, 0xfe], 0);
        check(&I32, 258, &[0, 0, 1, 2], 0);
        check(&I64, i64::MIN, &[0x80, 0, 0, 0, 0, 0, 0, 0], 0);
        check(&F32, 1.5, &[0x3f, 0xc0, 0, 0], 0.0);
        check(&F64, 1.5, &[0x3f, 0xf8, 0, 0, 0, 0, 0, 0], 0.0);
        check(&Bool, true, &[1], false);
        check(&Bool, false, &[0], true);
    }

    #[test]
    fn a_wrong_length_is_an_error() {
        for length in [0, 1, 3, 5, 7, 9] {
            assert!(I16.deserialize(&vec![0; length]).is_err());
            assert!(I32.deserialize(&vec![0; length]).is_err());
            assert!(I64.deserialize(&vec![0; length]).is_err());
            assert!(F32.deserialize(&vec![0; length]).is_err());
            assert!(F64.deserialize(&vec![0; length]).is_err());
        }
        assert_eq!(
            F64.deserialize(b"21.5").unwrap_err().to_string(),
            "an f64 is 8 bytes, big-endian; got 4 bytes: 32312e35"
        );
    }

    #[test]
    fn a_bool_is_zero_or_one() {
        for bytes in [&[][..], &[2], &[0, 1]] {
            assert!(Bool.deserialize(bytes).is_err());
        }
    }

    proptest! {
        #[test]
        fn every_number_comes_back(long: i64, int: i32, short: i16) {
            check(&I64, long, &long.to_be_bytes(), 0);
            check(&I32, int, &int.to_be_bytes(), 0);
            check(&I16, short, &short.to_be_bytes(), 0);
        }

        #[test]
        fn every_bit_of_a_float_comes_back(double: u64, float: u32) {
            let value = F64.deserialize(&double.to_be_bytes()).expect("f64");
            prop_assert_eq!(value.to_bits(), double);
            let value = F32.deserialize(&float.to_be_bytes()).expect("f32");
            prop_assert_eq!(value.to_bits(), float);
        }
    }
}
