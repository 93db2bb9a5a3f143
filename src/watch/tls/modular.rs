//! Powers of large numbers by a large modulus: all that checking an RSA signature needs. Nothing in it is secret, so it may
//! take as long as the numbers are large. `crypto-bigint`, which is there for P-256, takes 50 million instructions for a key
//! of any size, most of them for a division of constant time; this takes 1.5 for a key of 2048 bits.
//!
//! P. L. Montgomery, "Modular multiplication without trial division": with R = 2^(64·digits), a·b/R mod n needs no division.

use crate::limits::RSA_MAX;
use heapless::Vec;

/// 64-bit digits of the largest number.
const DIGITS: usize = RSA_MAX / 8;

/// A number in 64-bit digits, the lowest first; as many as its modulus has.
type Number = Vec<u64, DIGITS>;

/// `base` to the power of `exponent` modulo `modulus`, all in big-endian bytes, as long as the modulus; `None` when the
/// modulus is even or too long, when the base is not below it, or when the exponent is 0.
pub fn power(base: &[u8], exponent: u32, modulus: &[u8]) -> Option<Vec<u8, RSA_MAX>> {
    let modulus_digits = digits(modulus, modulus.len())?;
    let mut base = digits(base, modulus.len())?;
    let lowest = *modulus_digits.first().filter(|lowest| **lowest & 1 == 1)?;
    if !is_below(&base, &modulus_digits) || exponent == 0 {
        return None;
    }
    // -1/n modulo 2^64: each step of Newton's doubles the bits that are right, and 3 are from the beginning.
    let inverse =
        (0..5).fold(lowest, |inverse, _| inverse.wrapping_mul(2u64.wrapping_sub(lowest.wrapping_mul(inverse))));
    let multiply = |a: &Number, b: &Number| product(a, b, &modulus_digits, inverse.wrapping_neg());
    for _ in 0..64 * base.len() {
        double(&mut base, &modulus_digits);
    }
    let mut result = base.clone();
    for bit in (0..exponent.ilog2()).rev() {
        result = multiply(&result, &result);
        if exponent >> bit & 1 == 1 {
            result = multiply(&result, &base);
        }
    }
    let mut one = base;
    one.fill(0);
    *one.first_mut()? = 1;
    let result = multiply(&result, &one);
    let bytes = result.iter().rev().flat_map(|digit| digit.to_be_bytes());
    Some(bytes.skip(8 * result.len() - modulus.len()).collect())
}

/// Big-endian bytes as a number of as many digits as `len` bytes have.
fn digits(bytes: &[u8], len: usize) -> Option<Number> {
    let mut number = Number::new();
    number.resize(len.div_ceil(8), 0).ok()?;
    let mut rest = bytes.rchunks(8);
    for (digit, part) in number.iter_mut().zip(&mut rest) {
        *digit = part.iter().fold(0, |digit, byte| digit << 8 | u64::from(*byte));
    }
    rest.next().is_none().then_some(number)
}

fn is_below(a: &[u64], b: &[u64]) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

/// Takes `modulus` away if it is there, `more` or not: the number is below twice of it.
fn reduce(number: &mut [u64], modulus: &[u64], more: bool) {
    if more || !is_below(number, modulus) {
        let mut borrow = false;
        for (digit, less) in number.iter_mut().zip(modulus) {
            (*digit, borrow) = digit.borrowing_sub(*less, borrow);
        }
    }
}

fn double(number: &mut [u64], modulus: &[u64]) {
    let mut carry = false;
    for digit in number.iter_mut() {
        (*digit, carry) = digit.carrying_add(*digit, carry);
    }
    reduce(number, modulus, carry);
}

/// a·b/R modulo `modulus`; `inverse` is -1/modulus modulo 2^64.
#[inline(never)]
fn product(a: &Number, b: &Number, modulus: &Number, inverse: u64) -> Number {
    // Below twice the modulus: one digit more than it has, and the highest of that is a single bit.
    let (mut sum, mut top) = (Number::new(), false);
    // There is room: it is as long as they are.
    let _ = sum.resize(a.len(), 0);
    for digit in b {
        let high = add_product(&mut sum, a, *digit);
        let lowest = sum.first().copied().unwrap_or(0);
        let more = add_product(&mut sum, modulus, lowest.wrapping_mul(inverse));
        // The lowest digit is 0 now: dividing by 2^64 leaves it out.
        sum.rotate_left(1);
        let (last, carry) = high.carrying_add(more, top);
        if let Some(place) = sum.last_mut() {
            *place = last;
        }
        top = carry;
    }
    reduce(&mut sum, modulus, top);
    sum
}

/// Adds a·digit; returns the digit above.
fn add_product(sum: &mut [u64], a: &[u64], digit: u64) -> u64 {
    sum.iter_mut().zip(a).fold(0, |carry, (place, a)| {
        let (low, high) = a.carrying_mul_add(digit, carry, *place);
        *place = low;
        high
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use std::vec::Vec as List;

    fn bytes(random: &mut Random, len: usize) -> List<u8> {
        (0..len).map(|_| random.number() as u8).collect()
    }

    #[test]
    fn small_ones_are_as_the_processor_computes_them() {
        // A carry that is lost once in 2^64 is a signature that does not verify, or one that should not.
        let mut random = Random::new(7);
        let edges = [1, 3, u64::MAX, u64::MAX - 2, 1 << 63 | 1, 0xffff_ffff_0000_0001];
        for round in 0..20_000 {
            let modulus = edges.get(round % 12).copied().unwrap_or_else(|| random.number() | 1);
            let base = if round % 3 == 0 { modulus - 1 } else { random.number() % modulus };
            let exponent = if round % 2 == 0 { 65_537 } else { random.number() as u32 >> (round % 31) | 1 };
            let wide = |number: u64| u128::from(number);
            let mut right = 1 % modulus;
            for bit in (0..32).rev() {
                right = (wide(right) * wide(right) % wide(modulus)) as u64;
                if exponent >> bit & 1 == 1 {
                    right = (wide(right) * wide(base) % wide(modulus)) as u64;
                }
            }
            let power = power(&base.to_be_bytes(), exponent, &modulus.to_be_bytes());
            assert_eq!(power.as_deref(), Some(&right.to_be_bytes()[..]), "{base}^{exponent} mod {modulus}");
        }
    }

    #[test]
    fn large_ones_follow_the_laws() {
        // x^a·x^b is x^(a+b), at each length that a key may have, also such as fill no whole digit.
        let mut random = Random::new(8);
        for len in [1, 7, 8, 9, 255, 256, 257, 384, 511, 512] {
            for round in 0..20 {
                let mut modulus = bytes(&mut random, len);
                modulus[0] |= 0x80;
                if round % 2 == 0 {
                    modulus[..len.div_ceil(2)].fill(0xff);
                }
                modulus[len - 1] |= 1;
                let mut base = modulus.clone();
                base[0] -= 1 + (round % 8) as u8;
                let (a, b) = (random.number() as u32 >> 2 | 1, random.number() as u32 >> 2 | 1);
                let raised = |exponent| power(&base, exponent, &modulus).unwrap();
                let whole = raised(a + b);
                // The same as a sum of products, by schoolbook: doubled and added, digit by digit.
                let (left, right) = (raised(a), raised(b));
                let n = digits(&modulus, len).unwrap();
                let right = digits(&right, len).unwrap();
                let mut product = Number::new();
                product.resize(n.len(), 0).unwrap();
                for bit in left.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)) {
                    double(&mut product, &n);
                    if bit == 1 {
                        let mut carry = false;
                        for (digit, more) in product.iter_mut().zip(&right) {
                            (*digit, carry) = digit.carrying_add(*more, carry);
                        }
                        reduce(&mut product, &n, carry);
                    }
                }
                assert_eq!(digits(&whole, len).unwrap(), product, "{len} bytes");
            }
        }
    }

    #[test]
    fn what_is_no_power_is_none() {
        let long = [0xff; RSA_MAX + 1];
        for (base, exponent, modulus) in [
            (&[2][..], 3, &[8][..]),
            (&[9], 3, &[9]),
            (&[10], 3, &[9]),
            (&[2], 0, &[9]),
            (&[2], 3, &[]),
            (&[], 3, &[]),
            (&[2], 3, &long),
            (&long, 3, &[9]),
        ] {
            assert_eq!(power(base, exponent, modulus), None);
        }
        assert_eq!(power(&[2], 1, &[9]).unwrap(), [2]);
    }
}
