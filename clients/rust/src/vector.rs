//! Vectors, and how they are decoded.

use half::{bf16, f16};
use tonic::Code;

use crate::error::Error;
use crate::v1::{Embedding, VectorEncoding};

/// One vector.
#[derive(Clone, Debug, PartialEq)]
pub enum Vector {
    /// `dimensions` numbers: FLOAT32, and BFLOAT16, FLOAT16 and INT8 decoded.
    Float(Vec<f32>),
    /// `dimensions` bytes of INT8_FIXED, 127 times the vector; or `dimensions` / 8 bytes of BINARY.
    Signed(Vec<i8>),
    /// `dimensions` / 8 bytes of UBINARY or UBINARY_LSB.
    Unsigned(Vec<u8>),
}

impl Vector {
    /// The numbers; `None` for the encodings that an index takes as bytes.
    pub fn as_floats(&self) -> Option<&[f32]> {
        match self {
            Self::Float(values) => Some(values),
            _ => None,
        }
    }

    /// As [`as_floats`](Self::as_floats), without a copy.
    pub fn into_floats(self) -> Option<Vec<f32>> {
        match self {
            Self::Float(values) => Some(values),
            _ => None,
        }
    }

    /// Decodes a message. Its buffer becomes the vector where the numbers are as wide as on the wire.
    ///
    /// # Errors
    /// [`Other`](crate::ErrorKind::Other), code UNKNOWN: the encoding is newer than this client, or the data end
    /// with half a number.
    pub fn decode(embedding: Embedding) -> Result<Self, Error> {
        let data = embedding.data;
        let encoding = VectorEncoding::try_from(embedding.encoding);
        let wide = matches!(encoding, Ok(VectorEncoding::Bfloat16 | VectorEncoding::Float16));
        if wide && !data.len().is_multiple_of(2) {
            return Err(Error::new(Code::Unknown, "the server answered with half a number"));
        }
        let pairs = || data.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
        Ok(match encoding {
            Ok(VectorEncoding::Float32) => Self::Float(embedding.values),
            Ok(VectorEncoding::Bfloat16) => {
                Self::Float(pairs().map(|p| bf16::from_le_bytes(p).to_f32()).collect())
            }
            Ok(VectorEncoding::Float16) => {
                Self::Float(pairs().map(|p| f16::from_le_bytes(p).to_f32()).collect())
            }
            Ok(VectorEncoding::Int8) => {
                let scale = embedding.scale;
                Self::Float(data.iter().map(|&b| f32::from(b as i8) * scale).collect())
            }
            Ok(VectorEncoding::Int8Fixed | VectorEncoding::Binary) => {
                Self::Signed(data.into_iter().map(|b| b as i8).collect())
            }
            Ok(VectorEncoding::Ubinary | VectorEncoding::UbinaryLsb) => Self::Unsigned(data),
            Ok(VectorEncoding::Unspecified) | Err(_) => {
                let message = format!(
                    "the server answered in encoding {}, which this client does not know",
                    embedding.encoding
                );
                return Err(Error::new(Code::Unknown, message));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedding(encoding: VectorEncoding, data: Vec<u8>) -> Embedding {
        Embedding { data, encoding: encoding.into(), scale: 0.5, ..Embedding::default() }
    }

    /// The number of a sign, an exponent and a fraction of these widths, by the definition of IEEE 754.
    fn ieee(bits: u16, exponent_bits: u32, fraction_bits: u32) -> f64 {
        let bits = u32::from(bits);
        let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
        let largest = (1 << exponent_bits) - 1;
        let exponent = (bits >> fraction_bits) & largest;
        let fraction = f64::from(bits & ((1 << fraction_bits) - 1));
        let bias = i32::try_from(largest / 2).unwrap();
        let step = 2f64.powi(1 - bias - i32::try_from(fraction_bits).unwrap());
        let whole = f64::from(1u32 << fraction_bits);
        match exponent {
            0 => sign * fraction * step,
            e if e == largest && fraction > 0.0 => f64::NAN,
            e if e == largest => sign * f64::INFINITY,
            e => sign * (whole + fraction) * step * 2f64.powi(i32::try_from(e).unwrap() - 1),
        }
    }

    #[test]
    fn every_half_and_bfloat_is_the_number_of_its_definition() {
        let data: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        for (encoding, exponent, fraction) in
            [(VectorEncoding::Float16, 5, 10), (VectorEncoding::Bfloat16, 8, 7)]
        {
            let vector = Vector::decode(embedding(encoding, data.clone())).unwrap();
            let found = vector.into_floats().unwrap();
            assert_eq!(found.len(), 65_536);
            for (bits, found) in (0..=u16::MAX).zip(found) {
                let wanted = ieee(bits, exponent, fraction);
                let same = f64::from(found).to_bits() == wanted.to_bits();
                assert!(same || found.is_nan() && wanted.is_nan(), "{bits:04x}: {found} {wanted}");
            }
        }
    }

    #[test]
    fn bytes_keep_their_buffer() {
        let data = vec![0x80, 0xff, 0, 1, 0x7f];
        let place = data.as_ptr();
        let Ok(Vector::Unsigned(found)) = Vector::decode(embedding(VectorEncoding::Ubinary, data))
        else {
            panic!("UBINARY is unsigned bytes");
        };
        assert_eq!(found.as_ptr(), place);
        let Ok(Vector::Signed(found)) = Vector::decode(embedding(VectorEncoding::Binary, found))
        else {
            panic!("BINARY is signed bytes");
        };
        assert_eq!(found, [-128, -1, 0, 1, 127]);
        assert_eq!(found.as_ptr().cast(), place);
    }

    #[test]
    fn int8_has_the_scale_of_its_vector() {
        let vector = Vector::decode(embedding(VectorEncoding::Int8, vec![0x80, 3])).unwrap();
        assert_eq!(vector.as_floats().unwrap(), [-64.0, 1.5]);
    }

    #[test]
    fn half_a_number_is_an_error() {
        for encoding in [VectorEncoding::Bfloat16, VectorEncoding::Float16] {
            assert_eq!(Vector::decode(embedding(encoding, vec![])).unwrap(), Vector::Float(vec![]));
            let error = Vector::decode(embedding(encoding, vec![0; 3])).unwrap_err();
            assert_eq!(error.code(), Code::Unknown);
        }
    }

    #[test]
    fn an_unknown_encoding_is_an_error() {
        for encoding in [0, 9, -1] {
            let embedding = Embedding { encoding, values: vec![1.0], ..Embedding::default() };
            assert_eq!(Vector::decode(embedding).unwrap_err().code(), Code::Unknown);
        }
    }
}
