//! The hash of left rows: Kafka's `Murmur3#hash128`, the x64 variant of 128 bits with a seed of its own.

use super::ValueHash;

const SEED: u64 = 104_729;
const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// Both halves big-endian, as `ByteBuffer#putLong` writes them.
pub(super) fn hash128(bytes: &[u8]) -> ValueHash {
    let (mut h1, mut h2) = (SEED, SEED);
    let (blocks, tail) = bytes.as_chunks::<16>();
    for block in blocks {
        let (k1, k2) = halves(block);
        h1 ^= mix1(k1);
        h1 = h1.rotate_left(27).wrapping_add(h2);
        h1 = h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix2(k2);
        h2 = h2.rotate_left(31).wrapping_add(h1);
        h2 = h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    // What is missing of the last block is zeros, which mix to zero.
    let mut block = [0; 16];
    block[..tail.len()].copy_from_slice(tail);
    let (k1, k2) = halves(&block);
    // The length is an int in Java; a record never exceeds it.
    let length = bytes.len() as u64;
    h2 ^= mix2(k2) ^ length;
    h1 ^= mix1(k1) ^ length;

    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finish(h1);
    h2 = finish(h2);
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    (u128::from(h1) << 64 | u128::from(h2)).to_be_bytes()
}

fn halves(block: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(*block);
    (both as u64, (both >> 64) as u64)
}

fn mix1(k1: u64) -> u64 {
    k1.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mix2(k2: u64) -> u64 {
    k2.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn finish(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        for (text, first, second) in [
            ("", -7_122_613_646_888_064_702, -8_341_524_471_658_347_240),
            ("a", 3_702_349_557_448_790_408, -1_601_067_453_332_442_517),
            ("abcd", 3_291_415_483_613_967_444, 4_765_820_251_369_310_804),
            (
                "hello",
                3_512_725_192_710_940_516,
                6_227_047_293_690_958_278,
            ),
            (
                "foobar",
                -1_926_091_222_759_195_742,
                2_201_308_245_896_195_406_i64,
            ),
        ] {
            let hash = hash128(text.as_bytes());
            let (high, low) = hash.split_at(8);
            assert_eq!(high, i64::to_be_bytes(first), "{text}");
            assert_eq!(low, i64::to_be_bytes(second), "{text}");
        }
    }
    #[test]
    fn blocks_and_tails_are_javas() {
        for (length, first, second) in [
            (
                7,
                -2_107_356_240_070_746_995_i64,
                8_712_494_903_821_390_563_i64,
            ),
            (8, 6_014_274_030_055_629_952, 3_156_945_422_024_201_036),
            (9, -5_216_073_135_972_215_217, 8_252_163_989_001_585_864),
            (15, -8_844_713_386_880_038_744, 1_384_717_867_784_962_967),
            (16, 4_259_464_231_871_220_401, 71_836_089_553_343_856),
            (17, 1_468_295_286_396_577_991, 2_369_895_096_289_180_639),
            (31, 1_137_369_972_227_847_586, -2_626_887_154_935_382_824),
            (32, 2_819_191_440_991_962_733, 7_634_896_192_672_878_728),
            (33, -4_030_251_065_457_743_037, -2_429_668_008_310_786_738),
            (100, -6_026_256_978_218_035_036, 8_589_024_707_530_376_087),
        ] {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 37 + 200) as u8).collect();
            let expected = [first.to_be_bytes(), second.to_be_bytes()].concat();
            assert_eq!(hash128(&bytes).as_slice(), expected, "{length} bytes");
        }
    }
}
