//! The class order of the literature: NumPy's legacy `seed(s); shuffle(list(range(n)))`.

use rand_mt::Mt;

/// The order of `n` classes for a seed: position = new label, value = label in the data set.
///
/// MT19937 seeded by `init_genrand`, then Fisher-Yates from `i = n - 1` down to 1: `j` is a 32-bit word masked with the
/// smallest `2^k - 1 >= i`, drawn again while `j > i`; items `i` and `j` change places.
///
/// Source: NumPy, `numpy/random/mtrand.pyx` (`RandomState.shuffle`), whose stream is frozen.
pub fn class_order(n: u32, seed: u32) -> Vec<u32> {
    let mut words = Mt::new(seed);
    let mut order: Vec<u32> = (0..n).collect();
    for i in (1..n).rev() {
        let mask = u32::MAX >> i.leading_zeros();
        let j = loop {
            let j = words.next_u32() & mask;
            if j <= i {
                break j;
            }
        };
        order.swap(i as usize, j as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_1993_gives_numpys_orders() {
        assert_eq!(class_order(100, 1993)[..10], [68, 56, 78, 8, 23, 84, 90, 65, 74, 76]);
        assert_eq!(class_order(200, 1993)[..5], [168, 136, 51, 9, 183]);
        assert_eq!(class_order(300, 1993)[..5], [169, 221, 146, 296, 92]);
    }

    #[test]
    fn every_order_is_a_permutation() {
        for n in [0, 1, 2, 3, 64, 65, 101] {
            let mut order = class_order(n, 7);
            order.sort_unstable();
            assert_eq!(order, (0..n).collect::<Vec<_>>());
        }
    }
}
