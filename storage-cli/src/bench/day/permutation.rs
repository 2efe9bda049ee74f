//! A shuffle that takes no memory.

/// A permutation of the numbers below `len`, computed for each of them. It is always the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Permutation {
    len: u64,
    bits: u32,
}

/// Odd, so that multiplying by them is a bijection.
const FACTORS: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

impl Permutation {
    pub(super) fn new(len: u64) -> Self {
        Self { len, bits: u64::BITS - len.saturating_sub(1).leading_zeros() }
    }

    /// The number at `index`, which must be below `len`.
    pub(super) fn get(self, index: u64) -> u64 {
        // The powers of two above `len` are permuted; results beyond it are followed until one is below. This takes
        // less than two steps on average.
        let mut number = self.mix(index);
        while number >= self.len {
            number = self.mix(number);
        }
        number
    }

    /// A bijection of the numbers with so many bits.
    fn mix(self, number: u64) -> u64 {
        let mask = (1_u64 << self.bits) - 1;
        let shift = self.bits.div_ceil(2);
        FACTORS.into_iter().fold(number, |number, factor| {
            let number = number.wrapping_add(factor).wrapping_mul(factor) & mask;
            number ^ (number >> shift)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once() {
        for len in [1, 2, 3, 7, 8, 9, 1_000, 65_536, 100_003] {
            let permutation = Permutation::new(len);
            let mut numbers: Vec<_> = (0..len).map(|index| permutation.get(index)).collect();
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..len), "{len}");
        }
    }

    #[test]
    fn neighbours_are_scattered() {
        let permutation = Permutation::new(100_000);
        let numbers: Vec<_> = (0..100_000).map(|index| permutation.get(index)).collect();
        let ascending = numbers.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((45_000..55_000).contains(&ascending), "{ascending}");
        // The numbers of the first tenth come from all tenths alike.
        for tenth in 0..10 {
            let from_it = numbers[..10_000].iter().filter(|number| **number / 10_000 == tenth).count();
            assert!((850..1_150).contains(&from_it), "{tenth}: {from_it}");
        }
    }
}
