//! Which columns fit a terminal, and how wide each is.

/// Spaces between two columns.
pub const GAP: usize = 2;

/// The first column names the row: cut further, rows cannot be told apart.
const FIRST: usize = 8;

/// Narrower than that a text tells nothing.
const OTHERS: usize = 6;

/// What a column needs.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// The widest of its cells and its header.
    pub width: usize,
    /// It may be cut. A number may not: a part of it would be another number.
    pub cuttable: bool,
}

/// The widths of the columns that are shown, from the left; what is missing at
/// the end does not fit. At least one column is shown, whatever the width.
pub fn fit(needs: &[Need], width: Option<usize>) -> Vec<usize> {
    let Some(width) = width else { return needs.iter().map(|need| need.width).collect() };
    let mut shown = needs.len();
    while shown > 1 && total(needs[..shown].iter().enumerate().map(|(at, need)| floor(at, *need))) > width {
        shown -= 1;
    }
    // No column is wider than the terminal, which bounds the steps below.
    let least = |at: usize| floor(at, needs[at]);
    let mut widths: Vec<usize> =
        needs[..shown].iter().enumerate().map(|(at, need)| need.width.min(width.max(least(at)))).collect();
    // The widest gives first; of several the one further right, which says less.
    while total(widths.iter().copied()) > width {
        let giving = (0..shown).filter(|at| widths[*at] > least(*at)).max_by_key(|at| (widths[*at], *at));
        let Some(giving) = giving else { break };
        widths[giving] -= 1;
    }
    widths
}

fn total(widths: impl Iterator<Item = usize>) -> usize {
    widths.map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
}

/// The least width of a column.
fn floor(at: usize, need: Need) -> usize {
    let least = if at == 0 { FIRST } else { OTHERS };
    if need.cuttable { need.width.min(least) } else { need.width }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(width: usize) -> Need {
        Need { width, cuttable: true }
    }

    fn number(width: usize) -> Need {
        Need { width, cuttable: false }
    }

    #[test]
    fn what_fits_is_as_wide_as_it_is() {
        assert_eq!(fit(&[text(5), number(3)], Some(10)), [5, 3]);
        assert_eq!(fit(&[text(500), number(300)], None), [500, 300]);
        assert_eq!(fit(&[], Some(10)), [0; 0]);
    }

    #[test]
    fn the_widest_texts_give_first() {
        assert_eq!(fit(&[text(10), text(50), number(20)], Some(60)), [10, 26, 20]);
        assert_eq!(fit(&[text(30), text(50)], Some(42)), [20, 20]);
        assert_eq!(fit(&[text(30), text(50)], Some(43)), [21, 20]);
    }

    #[test]
    fn numbers_are_never_cut_and_the_first_column_stays_readable() {
        assert_eq!(fit(&[text(30), number(20)], Some(30)), [8, 20]);
        assert_eq!(fit(&[text(30), number(20)], Some(29)), [29]);
        assert_eq!(fit(&[text(30), text(30)], Some(16)), [8, 6]);
    }

    #[test]
    fn the_right_most_columns_go_last_of_all() {
        assert_eq!(fit(&[text(10), number(9), number(9), number(9)], Some(30)), [8, 9, 9]);
        assert_eq!(fit(&[text(10), number(9), text(9)], Some(30)), [9, 9, 8]);
        assert_eq!(fit(&[text(10), number(99)], Some(3)), [8]);
        assert_eq!(fit(&[number(10), number(9)], Some(3)), [10]);
    }

    #[test]
    fn a_huge_text_costs_no_more_than_the_terminal_is_wide() {
        let widths = fit(&[text(usize::MAX / 64); 32], Some(usize::from(u16::MAX)));
        assert_eq!(total(widths.iter().copied()), usize::from(u16::MAX));
    }
}
