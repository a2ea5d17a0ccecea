/* The preparation's inner loops, for lamostvac/spectra/native.py.
 *
 * Each function does what the NumPy code beside its call does, operation by operation in the same
 * order and in double precision, so that both give the same bits; the compiler must not contract
 * products and sums (-ffp-contract=off). Arrays belong to the caller, none may overlap.
 */

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef SOURCE
#define SOURCE ""
#endif

/* SHA-256 of the file that this was compiled from; a library of another one is not used. */
const char *lamostvac_source(void) { return SOURCE; }

enum { BITS = 11, BINS = 1 << BITS, PASSES = 3 };

/* Bits of a number rounded to single precision as an integer that sorts as the number does. */
static uint32_t sortable(double value)
{
    float rounded = (float)value;
    uint32_t bits;
    memcpy(&bits, &rounded, sizeof bits);
    return bits ^ (bits >> 31 ? ~UINT32_C(0) : UINT32_C(1) << 31);
}

/* A value and where it stands. */
struct place {
    uint32_t key;
    int32_t at;
};

/* Places in the order of their values: a radix sort by the rounded ones, and an insertion sort, which
 * has to move what rounding made equal. The sorted ones end up in `places`.
 */
static void sort_places(struct place *places, struct place *others, int32_t count,
                        const double *values)
{
    int32_t bins[PASSES][BINS] = {{0}};
    struct place *from = places, *to = others;
    for (int32_t i = 0; i < count; i++)
        for (int pass = 0; pass < PASSES; pass++)
            bins[pass][(places[i].key >> (pass * BITS)) & (BINS - 1)]++;
    for (int pass = 0; pass < PASSES; pass++) {
        int32_t *bin = bins[pass], start = 0;
        if (bin[(places[0].key >> (pass * BITS)) & (BINS - 1)] == count)
            continue; /* all keys have this digit in common */
        for (int digit = 0; digit < BINS; digit++) {
            int32_t here = bin[digit];
            bin[digit] = start;
            start += here;
        }
        for (int32_t i = 0; i < count; i++)
            to[bin[(from[i].key >> (pass * BITS)) & (BINS - 1)]++] = from[i];
        struct place *swap = from;
        from = to;
        to = swap;
    }
    if (from != places)
        memcpy(places, from, count * sizeof *places);
    for (int32_t i = 1; i < count; i++) {
        struct place moved = places[i];
        int32_t slot = i;
        for (; slot && values[places[slot - 1].at] > values[moved.at]; slot--)
            places[slot] = places[slot - 1];
        places[slot] = moved;
    }
}

static int32_t next_rank(const uint64_t *set, int32_t rank)
{
    int32_t word = (rank + 1) >> 6;
    uint64_t rest = set[word] & (~UINT64_C(0) << ((rank + 1) & 63));
    while (!rest)
        rest = set[++word];
    return (word << 6) + __builtin_ctzll(rest);
}

static int32_t previous_rank(const uint64_t *set, int32_t rank)
{
    int32_t word = rank >> 6;
    uint64_t rest = set[word] & ((UINT64_C(1) << (rank & 63)) - 1);
    while (!rest)
        rest = set[--word];
    return (word << 6) + 63 - __builtin_clzll(rest);
}

/* Median of the numbers within `half` of each of n values; NaN are left out. NaN where none is left.
 *
 * The window is a set of bits, one for each rank among all values, and the lower median is one of
 * them: a value that enters or leaves moves it to a neighbour in the set at most.
 */
static void running_median(const double *values, int32_t n, int32_t half, double *medians)
{
    struct place *places = malloc(2 * n * sizeof *places);
    int32_t *rank_of = malloc(n * sizeof *rank_of);
    double *sorted = malloc(n * sizeof *sorted);
    uint64_t *set = calloc(n / 64 + 2, sizeof *set);
    int32_t known = 0, inside = 0, below = 0, median = -1;
    if (!places || !rank_of || !sorted || !set)
        abort();
    for (int32_t i = 0; i < n; i++) {
        rank_of[i] = -1;
        if (!isnan(values[i]))
            places[known++] = (struct place){sortable(values[i]), i};
    }
    if (known)
        sort_places(places, places + n, known, values);
    for (int32_t rank = 0; rank < known; rank++) {
        rank_of[places[rank].at] = rank;
        sorted[rank] = values[places[rank].at];
    }
    /* `below` counts the values of the window under `median`; it is kept at (inside - 1) / 2. */
    for (int32_t i = -half; i < n; i++) {
        int32_t enters = i + half < n ? rank_of[i + half] : -1;
        int32_t leaves = i - half - 1 >= 0 ? rank_of[i - half - 1] : -1;
        if (enters >= 0) {
            set[enters >> 6] |= UINT64_C(1) << (enters & 63);
            if (!inside++)
                median = enters, below = 0;
            else if (enters < median)
                below++;
        }
        if (leaves >= 0) {
            if (leaves == median) {
                if (inside == 1)
                    median = -1;
                else if (below < inside - 1)
                    median = next_rank(set, median);
                else
                    median = previous_rank(set, median), below--;
            } else if (leaves < median)
                below--;
            set[leaves >> 6] &= ~(UINT64_C(1) << (leaves & 63));
            inside--;
        }
        if (inside) {
            int32_t wanted = (inside - 1) / 2;
            for (; below < wanted; below++)
                median = next_rank(set, median);
            for (; below > wanted; below--)
                median = previous_rank(set, median);
        }
        if (i >= 0) {
            if (!inside)
                medians[i] = NAN;
            else if (inside & 1)
                medians[i] = sorted[median];
            else
                medians[i] = 0.5 * (sorted[median] + sorted[next_rank(set, median)]);
        }
    }
    free(places);
    free(rank_of);
    free(sorted);
    free(set);
}

/* `running_median` of each of several rows (rows, n). */
void lamostvac_running_median(const double *values, int64_t rows, int64_t n, int64_t half,
                              double *medians)
{
    for (int64_t row = 0; row < rows; row++)
        running_median(values + row * n, (int32_t)n, (int32_t)half, medians + row * n);
}

/* y (n) with straight lines across the pixels that are not good; the nearest good one at the ends. */
static void bridge(const double *x, const uint8_t *good, int64_t n, double *y)
{
    int64_t before = -1, after = 0;
    double slope = 0.0;
    for (int64_t i = 0; i < n; i++) {
        if (good[i]) {
            before = i;
            continue;
        }
        if (after <= i) {
            for (after = i + 1; after < n && !good[after]; after++)
                ;
            if (before >= 0 && after < n)
                slope = (y[after] - y[before]) / (x[after] - x[before]);
        }
        if (before < 0)
            y[i] = y[after];
        else if (after >= n)
            y[i] = y[before];
        else {
            y[i] = slope * (x[i] - x[before]) + y[before];
            if (isnan(y[i])) { /* as numpy.interp, where a slope is infinite */
                y[i] = slope * (x[i] - x[after]) + y[after];
                if (isnan(y[i]) && y[before] == y[after])
                    y[i] = y[before];
            }
        }
    }
}

/* Derivatives at the knots of the spline through (x, y), as `_slopes` in rest_frame.py; n > 3.
 *
 * The elimination is that of LAPACK's dgtsv, which ends where it would divide by zero.
 */
static void spline_slopes(const double *x, const double *y, int64_t n, double *right)
{
    double *space = malloc(5 * n * sizeof *space);
    double *below = space, *diagonal = space + n, *above = space + 2 * n, *step = space + 3 * n,
           *chord = space + 4 * n;
    int singular = 0;
    if (!space)
        abort();
    for (int64_t i = 0; i < n - 1; i++) {
        step[i] = x[i + 1] - x[i];
        chord[i] = (y[i + 1] - y[i]) / step[i];
    }
    for (int64_t i = 1; i < n - 1; i++) {
        below[i - 1] = step[i];
        above[i] = step[i - 1];
        diagonal[i] = 2.0 * (step[i - 1] + step[i]);
        right[i] = 3.0 * (step[i] * chord[i - 1] + step[i - 1] * chord[i]);
    }
    double first = x[2] - x[0], last = x[n - 1] - x[n - 3];
    diagonal[0] = step[1];
    above[0] = first;
    right[0] = ((step[0] + 2.0 * first) * step[1] * chord[0] + step[0] * step[0] * chord[1]) / first;
    diagonal[n - 1] = step[n - 3];
    below[n - 2] = last;
    right[n - 1] = (step[n - 2] * step[n - 2] * chord[n - 3] +
                    (2.0 * last + step[n - 2]) * step[n - 3] * chord[n - 2]) /
                   last;
    for (int64_t i = 0; i < n - 1 && !singular; i++) {
        if (fabs(diagonal[i]) >= fabs(below[i])) {
            singular = diagonal[i] == 0.0;
            if (singular)
                break;
            double factor = below[i] / diagonal[i];
            diagonal[i + 1] -= factor * above[i];
            right[i + 1] -= factor * right[i];
            below[i] = 0.0;
        } else { /* rows change places; `below` takes the second superdiagonal */
            double factor = diagonal[i] / below[i], kept = diagonal[i + 1];
            diagonal[i] = below[i];
            diagonal[i + 1] = above[i] - factor * kept;
            if (i < n - 2) {
                below[i] = above[i + 1];
                above[i + 1] = -factor * below[i];
            }
            above[i] = kept;
            kept = right[i];
            right[i] = right[i + 1];
            right[i + 1] = kept - factor * right[i + 1];
        }
    }
    if (!singular && diagonal[n - 1] != 0.0) {
        right[n - 1] /= diagonal[n - 1];
        right[n - 2] = (right[n - 2] - above[n - 2] * right[n - 1]) / diagonal[n - 2];
        for (int64_t i = n - 3; i >= 0; i--)
            right[i] = (right[i] - above[i] * right[i + 1] - below[i] * right[i + 2]) / diagonal[i];
    }
    free(space);
}

/* Bridges the pixels of y that are not good, then the slopes of the spline through all. */
void lamostvac_bridge_with_slopes(const double *x, double *y, const uint8_t *good, int64_t n,
                                  double *slope)
{
    bridge(x, good, n, y);
    spline_slopes(x, y, n, slope);
}

/* RestSpectrum.onto: flux and inverse variance on a grid (m) of pixels with widths (m), or with one
 * width for all where `widths` is 1.
 */
void lamostvac_onto(const double *wave, const double *flux, const double *slope,
                    const double *ivar, int64_t n, const double *grid, int64_t m,
                    const double *width, int64_t widths, double *out_flux, double *out_ivar)
{
    int64_t left = 0;
    for (int64_t i = 0; i < m; i++) {
        double position = grid[i] > wave[0] ? grid[i] : wave[0];
        position = position < wave[n - 1] ? position : wave[n - 1];
        if (position != grid[i]) {
            out_flux[i] = out_ivar[i] = 0.0;
            continue;
        }
        /* The interval with wave[left] < position <= wave[left + 1]. */
        if (position <= wave[left] && left) {
            int64_t low = 0, high = left;
            while (low < high) {
                int64_t middle = (low + high) / 2;
                if (wave[middle] < position)
                    low = middle + 1;
                else
                    high = middle;
            }
            left = low ? low - 1 : 0;
        }
        while (position > wave[left + 1])
            left++;
        double step = wave[left + 1] - wave[left];
        double weight = (position - wave[left]) / step, opposite = 1.0 - weight;
        double start = flux[left], end = flux[left + 1], rise = end - start;
        double bend = opposite * (step * slope[left] - rise);
        bend += weight * (rise - step * slope[left + 1]);
        out_flux[i] = opposite * start + weight * end + weight * opposite * bend;
        double before = ivar[left], after = ivar[left + 1];
        if ((before == 0 && weight < 1.0) || (after == 0 && weight > 0.0))
            out_ivar[i] = 0.0;
        else
            out_ivar[i] = (opposite * before + weight * after) / step * width[widths == 1 ? 0 : i];
    }
}

/* Normalised pixels: flux / continuum and its inverse variance in float32, and what is believed.
 *
 * The continuum has to be above 0 and finite. A pixel is usable where it also has information and
 * a normalised flux from `low` to `high`; others get `replacement` (n, or one for all where
 * `replacements` is 1) and inverse variance 0. `counts` gets the numbers of pixels with ivar > 0, of
 * those of them with a continuum, and of usable ones.
 */
void lamostvac_divide(const double *flux, const double *ivar, const double *continuum, int64_t n,
                      float low, float high, const float *replacement, int64_t replacements,
                      float *out_flux, float *out_ivar, int64_t *counts)
{
    int64_t good = 0, with_continuum = 0, usable = 0;
    for (int64_t i = 0; i < n; i++) {
        int positive = continuum[i] > 0 && continuum[i] <= DBL_MAX;
        double scale = positive ? continuum[i] : 1.0;
        float value = (float)(flux[i] / scale), information = (float)(ivar[i] * (scale * scale));
        int use = positive && value >= low && value <= high && information > 0 &&
                  information <= FLT_MAX;
        out_flux[i] = use ? value : replacement[replacements == 1 ? 0 : i];
        out_ivar[i] = use ? information : 0.0f;
        good += ivar[i] > 0;
        with_continuum += ivar[i] > 0 && positive;
        usable += use;
    }
    counts[0] = good;
    counts[1] = with_continuum;
    counts[2] = usable;
}
