//! Ids that look random and are the same for the same seed, so that a simulated run can be repeated.

use uuid::Uuid;

/// A generator of ids (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    state: u64,
}

impl Ids {
    /// A generator that starts from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next id.
    pub(crate) fn uuid(&mut self) -> Uuid {
        let high = u128::from(self.next());
        let bytes = ((high << 64) | u128::from(self.next())).to_be_bytes();
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// An id as Kafka prints it: 22 characters of base64 for URLs.
pub(crate) fn kafka_id(id: Uuid) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = id.as_u128();
    // 22 characters hold 132 bits; the last one carries the 2 bits that are left and 4 zeros.
    let character = |i: u32| {
        let bits = if i == 21 {
            value << 4
        } else {
            value >> (122 - 6 * i)
        };
        char::from(ALPHABET[(bits & 0x3f) as usize])
    };
    (0..22).map(character).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_ids_and_no_two_alike() {
        let (mut a, mut b) = (Ids::new(7), Ids::new(7));
        let ids: Vec<_> = (0..100).map(|_| a.uuid()).collect();
        assert!(ids.iter().all(|id| *id == b.uuid()));
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), 100);
    }

    #[test]
    fn printed_as_base64_for_urls() {
        assert_eq!(kafka_id(Uuid::nil()), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(
            kafka_id(Uuid::from_u128(u128::MAX)),
            "_____________________w"
        );
        assert_eq!(kafka_id(Uuid::from_u128(1)), "AAAAAAAAAAAAAAAAAAAAAQ");
    }
}
