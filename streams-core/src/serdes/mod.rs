//! Serdes: values to bytes and back, in the bytes Kafka's own serdes write.
//!
//! | Serde | Type | Bytes | Kafka's class |
//! |---|---|---|---|
//! | [`Utf8`] | `String` | UTF-8, no length | `StringSerializer` |
//! | [`I16`], [`I32`], [`I64`] | `i16`, `i32`, `i64` | big-endian | `ShortSerializer`, `IntegerSerializer`, `LongSerializer` |
//! | [`F32`], [`F64`] | `f32`, `f64` | IEEE bits, big-endian | `FloatSerializer`, `DoubleSerializer` |
//! | [`Bool`] | `bool` | `01` or `00` | `BooleanSerializer` |
//! | [`RawBytes`] | `Vec<u8>` | as they are | `ByteArraySerializer` |
//! | [`UuidText`] | [`uuid::Uuid`] | 36 characters, lower case | `UUIDSerializer` |
//! | [`Void`] | `()` | null | `VoidSerializer` |
//! | [`Nullable<S>`](Nullable) | `Option<T>` | null, or those of `S` | any, with null |
//! | [`List<S>`](List) | `Vec<T>` | see there | `ListSerializer` |
//! | [`Json`] | `T: Serialize + DeserializeOwned` | JSON | none |
//! | [`TimeWindowed<S>`](TimeWindowed) | [`Windowed<K>`](crate::windowed::Windowed) | `[key][start i64]` | `TimeWindowedSerializer` |
//! | [`SessionWindowed<S>`](SessionWindowed) | [`Windowed<K>`](crate::windowed::Windowed) | `[key][end i64][start i64]` | `SessionWindowedSerializer` |
//!
//! A type with one obvious encoding has its serde by default ([`DefaultSerde`]); for any other type the call that needs
//! one takes it, so a missing serde is a compile error.
//!
//! ```
//! use streams_core::serdes::{Serde, Utf8, F64};
//!
//! let mut bytes = Vec::new();
//! F64.serialize(&1.5, &mut bytes)?;
//! assert_eq!(bytes, [0x3f, 0xf8, 0, 0, 0, 0, 0, 0]);
//! assert_eq!(Utf8.deserialize("Mosbach".as_bytes())?, "Mosbach");
//! # Ok::<(), streams_core::serdes::SerdeError>(())
//! ```
//!
//! Another encoding is another type that implements [`Serde`]:
//!
//! ```
//! use streams_core::serdes::{Serde, SerdeError};
//!
//! /// Degrees Celsius, as the station sends them: tenths, little-endian.
//! #[derive(Clone, Copy)]
//! struct Tenths;
//!
//! impl Serde<f64> for Tenths {
//!     fn serialize(&self, degrees: &f64, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
//!         bytes.extend_from_slice(&((degrees * 10.0).round() as i16).to_le_bytes());
//!         Ok(())
//!     }
//!
//!     fn deserialize(&self, bytes: &[u8]) -> Result<f64, SerdeError> {
//!         let tenths = bytes
//!             .try_into()
//!             .map_err(|_| SerdeError::new(format!("a temperature is 2 bytes, got {}", bytes.len())))?;
//!         Ok(f64::from(i16::from_le_bytes(tenths)) / 10.0)
//!     }
//! }
//!
//! assert_eq!(Tenths.deserialize(&[0xd7, 0x00])?, 21.5);
//! # Ok::<(), SerdeError>(())
//! ```

use std::any::Any;
use std::sync::Arc;

mod bytes;
mod error;
mod json;
mod list;
mod nullable;
mod number;
mod present;
mod text;
mod void;
mod windowed;

pub use bytes::RawBytes;
pub use error::SerdeError;
pub use json::Json;
pub use list::List;
pub use nullable::Nullable;
pub use number::{Bool, F32, F64, I16, I32, I64};
pub(crate) use present::Present;
pub use text::{Utf8, UuidText};
pub use void::Void;
pub use windowed::{SessionWindowed, TimeWindowed};

/// A value to bytes and back.
///
/// A serde that knows no null implements [`serialize`](Serde::serialize) and [`deserialize`](Serde::deserialize); the
/// rest is there for those that do better. The runtime calls the null-aware methods for what comes from and goes to a
/// topic, and keeps one value and one buffer per place, so that a serde that overrides
/// [`deserialize_into`](Serde::deserialize_into) allocates nothing per record.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no serde for `{T}`",
    label = "not a serde for `{T}`",
    note = "use the serde of that type, for instance `Utf8` for `String`, `I64` for `i64` or `Nullable(Utf8)` for `Option<String>`",
    note = "a windowed key takes `TimeWindowed::new(key_serde, window_size)` or `SessionWindowed::new(key_serde)`",
    note = "`Json` serves every type that implements serde's `Serialize` and `Deserialize`"
)]
pub trait Serde<T>: Send + Sync + 'static {
    /// Appends the value's bytes.
    ///
    /// # Errors
    /// When the value has no bytes. What was appended until then is the caller's to remove.
    fn serialize(&self, value: &T, bytes: &mut Vec<u8>) -> Result<(), SerdeError>;

    /// The value of these bytes.
    ///
    /// # Errors
    /// When the bytes are no such value.
    fn deserialize(&self, bytes: &[u8]) -> Result<T, SerdeError>;

    /// Puts the value of these bytes into an existing one, keeping what that has allocated where the serde can.
    ///
    /// # Errors
    /// When the bytes are no such value; what `value` holds then is some valid value.
    fn deserialize_into(&self, bytes: &[u8], value: &mut T) -> Result<(), SerdeError> {
        *value = self.deserialize(bytes)?;
        Ok(())
    }

    /// Appends the value's bytes, or appends nothing and returns `false` when the value is null.
    ///
    /// Only serdes of types that have a null override this and [`deserialize_nullable`](Serde::deserialize_nullable).
    ///
    /// # Errors
    /// As [`serialize`](Serde::serialize).
    fn serialize_nullable(&self, value: &T, bytes: &mut Vec<u8>) -> Result<bool, SerdeError> {
        self.serialize(value, bytes)?;
        Ok(true)
    }

    /// The value of these bytes, or of null.
    ///
    /// # Errors
    /// When the bytes are no such value, or [`SerdeError::null`] for a null where the type has none.
    fn deserialize_nullable(&self, bytes: Option<&[u8]>) -> Result<T, SerdeError> {
        match bytes {
            Some(bytes) => self.deserialize(bytes),
            None => Err(SerdeError::null()),
        }
    }

    /// As [`deserialize_nullable`](Serde::deserialize_nullable), into an existing value.
    ///
    /// # Errors
    /// As [`deserialize_nullable`](Serde::deserialize_nullable); what `value` holds then is some valid value.
    fn deserialize_nullable_into(
        &self,
        bytes: Option<&[u8]>,
        value: &mut T,
    ) -> Result<(), SerdeError> {
        match bytes {
            Some(bytes) => self.deserialize_into(bytes, value),
            None => {
                *value = self.deserialize_nullable(None)?;
                Ok(())
            }
        }
    }

    /// The size of every value where [`List`] writes the elements without their lengths.
    ///
    /// Kafka's `ListSerializer` does so for its short, integer, long, float, double and UUID serdes and for no others:
    /// a serde of your own leaves this at `None` if a Java program is to read its lists.
    fn list_element_size_bytes(&self) -> Option<usize> {
        None
    }

    /// The part of a key's bytes that decides its partition when no partitioner is given: all of them, and for windowed
    /// keys those of the inner key (Kafka's `WindowedStreamPartitioner`).
    fn partition_bytes<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        key
    }

    /// Of a serde of `Option`s: appends the bytes of what is inside one, given as that type. `None` from any other serde.
    #[doc(hidden)]
    fn serialize_content(
        &self,
        content: &dyn Any,
        bytes: &mut Vec<u8>,
    ) -> Option<Result<bool, SerdeError>> {
        let _ = (content, bytes);
        None
    }
}

/// A type that has a serde without being asked for one.
///
/// ```
/// use streams_core::serdes::{DefaultSerde, Json, Serde, default_serde};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Reading {
///     temperature: f64,
/// }
///
/// impl DefaultSerde for Reading {
///     type Serde = Json;
/// }
///
/// let serde = default_serde::<Reading>();
/// assert_eq!(serde.deserialize(br#"{"temperature":21.5}"#)?.temperature, 21.5);
/// # Ok::<(), streams_core::serdes::SerdeError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "no serde for `{Self}`",
    label = "`{Self}` has no serde by default",
    note = "pass one, for instance `Consumed::with(Utf8, Json)`, or implement `DefaultSerde` for `{Self}`"
)]
pub trait DefaultSerde: Sized + 'static {
    /// The serde.
    type Serde: Serde<Self> + Default;
}

/// A serde behind a pointer, cheap to clone; it is a serde itself.
pub type BoxSerde<T> = Arc<dyn Serde<T>>;

/// The serde a type has by default.
///
/// ```
/// use streams_core::serdes::{Serde, default_serde};
///
/// let mut bytes = Vec::new();
/// default_serde::<i32>().serialize(&7, &mut bytes)?;
/// assert_eq!(bytes, [0, 0, 0, 7]);
/// # Ok::<(), streams_core::serdes::SerdeError>(())
/// ```
pub fn default_serde<T: DefaultSerde>() -> BoxSerde<T> {
    Arc::new(T::Serde::default())
}

impl<T, S: Serde<T> + ?Sized> Serde<T> for Arc<S> {
    fn serialize(&self, value: &T, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        (**self).serialize(value, bytes)
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        (**self).deserialize(bytes)
    }

    fn deserialize_into(&self, bytes: &[u8], value: &mut T) -> Result<(), SerdeError> {
        (**self).deserialize_into(bytes, value)
    }

    fn serialize_nullable(&self, value: &T, bytes: &mut Vec<u8>) -> Result<bool, SerdeError> {
        (**self).serialize_nullable(value, bytes)
    }

    fn deserialize_nullable(&self, bytes: Option<&[u8]>) -> Result<T, SerdeError> {
        (**self).deserialize_nullable(bytes)
    }

    fn deserialize_nullable_into(
        &self,
        bytes: Option<&[u8]>,
        value: &mut T,
    ) -> Result<(), SerdeError> {
        (**self).deserialize_nullable_into(bytes, value)
    }

    fn list_element_size_bytes(&self) -> Option<usize> {
        (**self).list_element_size_bytes()
    }

    fn partition_bytes<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        (**self).partition_bytes(key)
    }

    fn serialize_content(
        &self,
        content: &dyn Any,
        bytes: &mut Vec<u8>,
    ) -> Option<Result<bool, SerdeError>> {
        (**self).serialize_content(content, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts the bytes of a value, and that every way back gives the value.
    #[track_caller]
    pub(super) fn check<T: PartialEq + std::fmt::Debug>(
        serde: &impl Serde<T>,
        value: T,
        expected: &[u8],
        mut other: T,
    ) {
        let mut bytes = vec![0xee];
        serde.serialize(&value, &mut bytes).expect("serialize");
        assert_eq!(bytes[0], 0xee, "serialize appends");
        assert_eq!(&bytes[1..], expected);
        assert_eq!(serde.deserialize(expected).expect("deserialize"), value);
        serde
            .deserialize_into(expected, &mut other)
            .expect("deserialize_into");
        assert_eq!(other, value);
        assert!(
            serde
                .serialize_nullable(&value, &mut bytes)
                .expect("nullable")
        );
        assert_eq!(&bytes[1 + expected.len()..], expected);
        assert_eq!(
            serde
                .deserialize_nullable(Some(expected))
                .expect("nullable"),
            value
        );
    }

    #[test]
    fn null_is_an_error_where_the_type_has_none() {
        let mut value = String::from("before");
        assert!(Utf8.deserialize_nullable(None).unwrap_err().is_null());
        assert!(
            Utf8.deserialize_nullable_into(None, &mut value)
                .unwrap_err()
                .is_null()
        );
        assert_eq!(value, "before");
    }

    #[test]
    fn a_boxed_serde_is_a_serde() {
        let boxed: BoxSerde<Option<i32>> = default_serde();
        let mut bytes = Vec::new();
        assert!(!boxed.serialize_nullable(&None, &mut bytes).expect("null"));
        assert_eq!(boxed.deserialize_nullable(None).expect("null"), None);
        assert_eq!(boxed.list_element_size_bytes(), Some(4));
        check(&boxed, Some(7), &[0, 0, 0, 7], None);
    }
}
