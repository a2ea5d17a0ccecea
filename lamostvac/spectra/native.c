/* The preparation's inner loops, for lamostvac/spectra/native.py.
 *
 * Each function does what the NumPy code beside its call does, operation by operation in the same
 * order and in double precision, so that both give the same bits; the compiler must not contract
 * products and sums (-ffp-contract=off). Arrays belong to the caller, none may overlap. Functions
 * that need memory of their own return 0, or NO_MEMORY where there is none.
 */

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef SOURCE
#define SOURCE ""
#endif

enum { NO_MEMORY = 1 };

/* SHA-256 of the file that this was compiled from; a library of another one is not used. */
const char *lamostvac_source(void) { return SOURCE; }

/* --- running median --------------------------------------------------------------------------- */

enum { BITS = 11, BINS = 1 << BITS, PASSES = 2 };

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

/* Places in the order of their values: a radix sort by the rounded ones, as finely as two digits tell
 * them apart, and an insertion sort, which has little to move. The sorted ones end up in `places`.
 */
static void sort_places(struct place *places, struct place *others, int32_t count,
                        const double *values)
{
    int32_t bins[PASSES][BINS] = {{0}};
    uint32_t low = UINT32_MAX, high = 0;
    int shift = 0;
    for (int32_t i = 0; i < count; i++) {
        low = places[i].key < low ? places[i].key : low;
        high = places[i].key > high ? places[i].key : high;
    }
    while ((high - low) >> shift >= UINT32_C(1) << (PASSES * BITS))
        shift++;
    for (int32_t i = 0; i < count; i++) {
        uint32_t key = (places[i].key - low) >> shift;
        places[i].key = key;
        bins[0][key & (BINS - 1)]++;
        bins[1][key >> BITS]++;
    }
    for (int pass = 0; pass < PASSES; pass++) {
        int32_t start = 0;
        for (int32_t digit = 0; digit < BINS; digit++) {
            int32_t here = bins[pass][digit];
            bins[pass][digit] = start;
            start += here;
        }
    }
    for (int32_t i = 0; i < count; i++)
        others[bins[0][places[i].key & (BINS - 1)]++] = places[i];
    for (int32_t i = 0; i < count; i++)
        places[bins[1][others[i].key >> BITS]++] = others[i];
    for (int32_t i = 1; i < count; i++) {
        struct place moved = places[i];
        double value = values[moved.at];
        int32_t slot = i;
        for (; slot && values[places[slot - 1].at] > value; slot--)
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

/* Bytes that `running_median` of n values needs. */
static size_t median_space(int64_t n)
{
    return n * (2 * sizeof(struct place) + sizeof(double) + sizeof(int32_t)) +
           (n / 64 + 2) * sizeof(uint64_t);
}

/* Median of the numbers within `half` of each of n values; NaN are left out. NaN where none is left.
 *
 * The window is a set of bits, one for each rank among all values, and the lower median is one of
 * them: a value that enters or leaves moves it to a neighbour in the set at most. `space` has
 * `median_space(n)` bytes.
 */
static void running_median(const double *values, int32_t n, int32_t half, double *medians,
                           void *space)
{
    struct place *places = space;
    double *sorted = (double *)(places + 2 * n);
    uint64_t *set = (uint64_t *)(sorted + n);
    int32_t *rank_of = (int32_t *)(set + n / 64 + 2);
    int32_t known = 0, inside = 0, below = 0, median = -1;
    memset(set, 0, (n / 64 + 2) * sizeof *set);
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
}

/* `running_median` of each of several rows (rows, n). */
int lamostvac_running_median(const double *values, int64_t rows, int64_t n, int64_t half,
                             double *medians)
{
    void *space = malloc(median_space(n));
    if (!space)
        return NO_MEMORY;
    for (int64_t row = 0; row < rows; row++)
        running_median(values + row * n, (int32_t)n, (int32_t)half, medians + row * n, space);
    free(space);
    return 0;
}

/* --- spline ----------------------------------------------------------------------------------- */

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
 * The elimination is that of LAPACK's dgtsv, which ends where it would divide by zero. `space` has
 * room for 5 n.
 */
static void spline_slopes(const double *x, const double *y, int64_t n, double *right,
                          double *space)
{
    double *below = space, *diagonal = space + n, *above = space + 2 * n, *step = space + 3 * n,
           *chord = space + 4 * n;
    int singular = 0;
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
}

/* Bridges the pixels of y that are not good, then the slopes of the spline through all. */
int lamostvac_bridge_with_slopes(const double *x, double *y, const uint8_t *good, int64_t n,
                                 double *slope)
{
    double *space = malloc(5 * n * sizeof *space);
    if (!space)
        return NO_MEMORY;
    bridge(x, good, n, y);
    spline_slopes(x, y, n, slope, space);
    free(space);
    return 0;
}

enum { LANES = 4 };

/* `spline_slopes` of several spectra at once, whose divisions need not wait for each other.
 *
 * Rows are not exchanged here: a spectrum that needs it, and one without a solution, is given to
 * `spline_slopes`. `space` has room for 4 LANES rows of the longest, and for what that needs.
 */
static void slopes_in_lanes(const double *const *x, const double *const *y, const int64_t *n,
                            double *const *slope, double *space)
{
    int64_t least = n[0], most = n[0];
    for (int lane = 1; lane < LANES; lane++) {
        least = n[lane] < least ? n[lane] : least;
        most = n[lane] > most ? n[lane] : most;
    }
    double(*step)[LANES] = (double(*)[LANES])space, (*chord)[LANES] = step + most;
    double(*diagonal)[LANES] = chord + most, (*right)[LANES] = diagonal + most;
    double first[LANES];
    int64_t exchanged[LANES] = {0};
    for (int lane = 0; lane < LANES; lane++) {
        const double *at = x[lane], *value = y[lane];
        for (int64_t i = 0; i < n[lane] - 1; i++) {
            step[i][lane] = at[i + 1] - at[i];
            chord[i][lane] = value[i + 1] - value[i];
        }
        first[lane] = at[2] - at[0];
    }
    for (int64_t i = 0; i < least - 1; i++)
        for (int lane = 0; lane < LANES; lane++)
            chord[i][lane] /= step[i][lane];
    for (int lane = 0; lane < LANES; lane++)
        for (int64_t i = least - 1; i < n[lane] - 1; i++)
            chord[i][lane] /= step[i][lane];
    for (int lane = 0; lane < LANES; lane++) {
        diagonal[0][lane] = step[1][lane];
        right[0][lane] = ((step[0][lane] + 2.0 * first[lane]) * step[1][lane] * chord[0][lane] +
                          step[0][lane] * step[0][lane] * chord[1][lane]) /
                         first[lane];
    }
    /* Row i of the elimination changes row i + 1, which for all but the last is one of the inner. */
    for (int64_t i = 0; i < least - 2; i++)
        for (int lane = 0; lane < LANES; lane++) {
            double before = step[i][lane], after = step[i + 1][lane];
            double above = i ? step[i ? i - 1 : 0][lane] : first[lane];
            double factor = after / diagonal[i][lane];
            exchanged[lane] |= !(fabs(diagonal[i][lane]) >= fabs(after)) | (diagonal[i][lane] == 0.0);
            diagonal[i + 1][lane] = 2.0 * (before + after) - factor * above;
            right[i + 1][lane] = 3.0 * (after * chord[i][lane] + before * chord[i + 1][lane]) -
                                 factor * right[i][lane];
        }
    for (int lane = 0; lane < LANES; lane++) {
        int64_t end = n[lane] - 1;
        double last = x[lane][end] - x[lane][end - 2];
        for (int64_t i = least - 2; i < end; i++) {
            int inner = i + 1 < end;
            double before = step[i][lane], after = inner ? step[i + 1][lane] : last;
            double factor = after / diagonal[i][lane];
            exchanged[lane] |= !(fabs(diagonal[i][lane]) >= fabs(after)) | (diagonal[i][lane] == 0.0);
            double own = inner ? 2.0 * (before + after) : step[i - 1][lane], side;
            if (inner)
                side = 3.0 * (after * chord[i][lane] + before * chord[i + 1][lane]);
            else
                side = (before * before * chord[i - 1][lane] +
                        (2.0 * last + before) * step[i - 1][lane] * chord[i][lane]) /
                       last;
            diagonal[i + 1][lane] = own - factor * step[i - 1][lane];
            right[i + 1][lane] = side - factor * right[i][lane];
        }
        exchanged[lane] |= diagonal[end][lane] == 0.0;
        right[end][lane] /= diagonal[end][lane];
        for (int64_t i = end - 1; i >= least - 2; i--)
            right[i][lane] = (right[i][lane] - step[i - 1][lane] * right[i + 1][lane]) / diagonal[i][lane];
    }
    for (int64_t i = least - 3; i >= 0; i--)
        for (int lane = 0; lane < LANES; lane++) {
            double above = i ? step[i ? i - 1 : 0][lane] : first[lane];
            right[i][lane] = (right[i][lane] - above * right[i + 1][lane]) / diagonal[i][lane];
        }
    for (int lane = 0; lane < LANES; lane++) {
        for (int64_t i = 0; i < n[lane]; i++)
            slope[lane][i] = right[i][lane];
        exchanged[lane] |= !isfinite(right[0][lane]);
    }
    for (int lane = 0; lane < LANES; lane++)
        if (exchanged[lane])
            spline_slopes(x[lane], y[lane], n[lane], slope[lane], space);
}

/* --- resampling ------------------------------------------------------------------------------- */

enum { BLOCK = 256 };

/* The pixel `left` with wave[left] < position <= wave[left + 1], where wave[0] < position; from a guess. */
static int64_t interval(const double *wave, int64_t n, double position, int64_t guess)
{
    int64_t low = 0, high = n - 1;
    if (position > wave[guess])
        low = guess;
    else
        high = guess;
    if (low == guess && position <= wave[guess + 1])
        return guess;
    while (low + 1 < high) {
        int64_t middle = (low + high) / 2;
        if (wave[middle] < position)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* RestSpectrum.onto: flux and inverse variance on a grid (m) of pixels with widths (m), or with one
 * width for all where `widths` is 1. `logarithm` is that of the grid, or NULL.
 *
 * LAMOST's wavelengths are logarithmic to some 1e-4 of a pixel: a logarithm gives the interval of a
 * position, or the one beside it. Without it the search begins where the one before ended.
 */
void lamostvac_onto(const double *wave, const double *flux, const double *slope,
                    const double *ivar, int64_t n, const double *grid,
                    const double *logarithm, int64_t m, const double *width, int64_t widths,
                    double *restrict out_flux, double *restrict out_ivar)
{
    double lowest = wave[0], highest = wave[n - 1], origin = log(lowest);
    double scale = (n - 1) / (log(highest) - origin), last = (double)(n - 2);
    int32_t near = 0;
    for (int64_t from = 0; from < m; from += BLOCK) {
        int count = m - from < BLOCK ? (int)(m - from) : BLOCK;
        double at[BLOCK], start[BLOCK], end[BLOCK], first[BLOCK], second[BLOCK];
        double rising[BLOCK], falling[BLOCK], before[BLOCK], after[BLOCK], wide[BLOCK];
        int32_t left[BLOCK];
        for (int i = 0; i < count; i++) {
            double position = grid[from + i], guess = 0.0;
            position = position > lowest ? position : lowest;
            at[i] = position < highest ? position : highest;
            if (logarithm)
                guess = (logarithm[from + i] - origin) * scale;
            guess = guess > 0.0 ? guess : 0.0;
            left[i] = (int32_t)(guess < last ? guess : last);
            wide[i] = width[0];
        }
        if (widths > 1)
            memcpy(wide, width + from, count * sizeof *wide);
        for (int i = 0; i < count; i++) {
            near = logarithm ? left[i] : near;
            near -= (at[i] <= wave[near]) & (near > 0);
            near += (at[i] > wave[near + 1]) & (near < n - 2);
            if ((at[i] <= wave[near] && near) || at[i] > wave[near + 1])
                near = (int32_t)interval(wave, n, at[i], near);
            start[i] = wave[near];
            end[i] = wave[near + 1];
            first[i] = flux[near];
            second[i] = flux[near + 1];
            rising[i] = slope[near];
            falling[i] = slope[near + 1];
            before[i] = ivar[near];
            after[i] = ivar[near + 1];
        }
        for (int i = 0; i < count; i++) {
            double step = end[i] - start[i];
            double weight = (at[i] - start[i]) / step, opposite = 1.0 - weight;
            double rise = second[i] - first[i];
            double bend = opposite * (step * rising[i] - rise);
            bend += weight * (rise - step * falling[i]);
            double value = opposite * first[i] + weight * second[i] + weight * opposite * bend;
            double information = (opposite * before[i] + weight * after[i]) / step * wide[i];
            information = (before[i] == 0.0) & (weight < 1.0) ? 0.0 : information;
            information = (after[i] == 0.0) & (weight > 0.0) ? 0.0 : information;
            /* Outside the spectrum the position is not that of the grid. */
            out_flux[from + i] = at[i] == grid[from + i] ? value : 0.0;
            out_ivar[from + i] = at[i] == grid[from + i] ? information : 0.0;
        }
    }
}

/* --- normalisation ---------------------------------------------------------------------------- */

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
    for (int64_t from = 0; from < n; from += BLOCK) {
        int count = n - from < BLOCK ? (int)(n - from) : BLOCK, used = 0;
        float value[BLOCK], information[BLOCK], instead[BLOCK];
        for (int i = 0; i < count; i++) {
            double level = continuum[from + i];
            int64_t positive = (level > 0.0) & (level <= DBL_MAX), known = ivar[from + i] > 0.0;
            double scale = positive ? level : 1.0;
            double content = positive ? ivar[from + i] * (scale * scale) : 0.0;
            value[i] = (float)(flux[from + i] / scale);
            information[i] = (float)content;
            instead[i] = replacement[0];
            good += known;
            with_continuum += known & positive;
        }
        if (replacements > 1)
            memcpy(instead, replacement + from, count * sizeof *instead);
        for (int i = 0; i < count; i++) {
            int use = (value[i] >= low) & (value[i] <= high) & (information[i] > 0.0f) &
                      (information[i] <= FLT_MAX);
            out_flux[from + i] = use ? value[i] : instead[i];
            out_ivar[from + i] = use ? information[i] : 0.0f;
            used += use;
        }
        usable += used;
    }
    counts[0] = good;
    counts[1] = with_continuum;
    counts[2] = usable;
}

/* --- a batch of spectra ----------------------------------------------------------------------- */

/* How a file stores numbers: the last four are those of FITS, most significant byte first. */
enum { NATIVE_DOUBLE, BIG_FLOAT, BIG_DOUBLE, BIG_INT, BIG_SHORT };

struct stored {
    const void *data;
    int64_t type;
};

struct spectrum {
    struct stored wave, flux, ivar, ormask;
    int64_t n;
    double redshift;
};

/* How both systems of labels see spectra; `lamostvac.spectra.batch` says what each field is. */
struct preparation {
    double lowest, highest; /* wavelengths (A) that a file can have */
    const double *grid, *grid_logarithm, *regions;
    int64_t pixels, n_regions, half;
    double min_good;
    float low, high;
    const double *network_grid, *network_logarithm, *network_width;
    const int64_t *windows; /* padded pixels of each */
    int64_t network_padded, network_pixels, n_windows, network_half;
};

/* Where the results of a batch go. `unusual` is 1 where a system cannot use a spectrum, or where it
 * is left to the NumPy code.
 */
struct prepared {
    float *flux, *ivar;                                    /* (count, pixels) */
    double *network_flux, *network_ivar, *network_smooth;  /* (count, network_pixels) */
    int64_t *sum_ormask;                                   /* (count) */
    uint8_t *unusual, *network_unusual;                    /* (count) */
};

/* Numbers of a file as doubles; each loop on its own, so that it becomes one of wide registers. */
static void decode(const struct stored *stored, int64_t n, double *out)
{
    const unsigned char *data = stored->data;
    if (stored->type == NATIVE_DOUBLE)
        memcpy(out, data, n * sizeof *out);
    else if (stored->type == BIG_DOUBLE)
        for (int64_t i = 0; i < n; i++) {
            uint64_t bits;
            memcpy(&bits, data + 8 * i, sizeof bits);
            bits = __builtin_bswap64(bits);
            memcpy(out + i, &bits, sizeof bits);
        }
    else if (stored->type == BIG_SHORT)
        for (int64_t i = 0; i < n; i++)
            out[i] = (int16_t)(data[2 * i] << 8 | data[2 * i + 1]);
    else
        for (int64_t i = 0; i < n; i++) {
            uint32_t bits;
            float value;
            memcpy(&bits, data + 4 * i, sizeof bits);
            bits = __builtin_bswap32(bits);
            memcpy(&value, &bits, sizeof bits);
            out[i] = stored->type == BIG_FLOAT ? (double)value : (double)(int32_t)bits;
        }
}

/* Sum of mask bits, of which those that no mask can have count as 0. */
static int64_t sum_of_bits(const double *values, int64_t n)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += values[i] >= 0 && values[i] < 2147483648.0 ? (int32_t)values[i] : 0;
    return sum;
}

/* Wavelengths at rest, flux with bridges and inverse variance of a spectrum; whether it has any. */
static int at_rest(const struct spectrum *spectrum, const struct preparation *how, double *wave,
                   double *flux, double *ivar, uint8_t *good, int64_t *sum_ormask)
{
    int64_t n = spectrum->n;
    int rises = 1, some = 0;
    double scale = 1.0 + spectrum->redshift;
    decode(&spectrum->ormask, n, wave);
    *sum_ormask = sum_of_bits(wave, n);
    decode(&spectrum->wave, n, wave);
    for (int64_t i = 1; i < n; i++)
        rises &= wave[i] > wave[i - 1];
    if (!rises || !(wave[0] > how->lowest) || !(wave[n - 1] < how->highest) ||
        !isfinite(spectrum->redshift) || spectrum->redshift <= -1)
        return 0;
    decode(&spectrum->flux, n, flux);
    decode(&spectrum->ivar, n, ivar);
    for (int64_t i = 0; i < n; i++) {
        double value = (float)flux[i], information = (float)ivar[i];
        int use = (fabs(value) <= DBL_MAX) & (value != 0.0) & (information <= DBL_MAX) &
                  (information > 0.0);
        wave[i] /= scale;
        flux[i] = use ? value : 0.0;
        ivar[i] = use ? information : 0.0;
        good[i] = (uint8_t)use;
        some |= use;
    }
    if (some)
        bridge(wave, good, n, flux);
    return some;
}

/* `normalise_spectrum` of a spectrum at rest; 1 where it cannot be used. `space` has 3 pixels. */
static int normalise(const double *wave, const double *flux, const double *slope,
                     const double *ivar, int64_t n, double redshift,
                     const struct preparation *how, double *space, void *median_space,
                     float *out_flux, float *out_ivar)
{
    const double *grid = how->grid;
    int64_t m = how->pixels, known = 0, counts[3];
    double *on_grid = space, *information = space + m, *continuum = space + 2 * m;
    const double width = grid[1] - grid[0], scale = 1.0 + redshift;
    const float replacement = 1.0f;
    if (wave[0] > grid[0] || wave[n - 1] < grid[m - 1])
        return 1;
    lamostvac_onto(wave, flux, slope, ivar, n, grid, how->grid_logarithm, m, &width, 1, on_grid,
                   information);
    for (int64_t region = 0; region < how->n_regions; region++) {
        double low = how->regions[2 * region], high = how->regions[2 * region + 1];
        int64_t i = 0, end = m;
        while (i < end) {
            int64_t middle = (i + end) / 2;
            if (grid[middle] * scale < low)
                i = middle + 1;
            else
                end = middle;
        }
        for (; i < m && grid[i] * scale <= high; i++)
            information[i] = 0.0;
    }
    for (int64_t i = 0; i < m; i++)
        known += information[i] != 0.0;
    if ((double)known / m < how->min_good)
        return 1;
    for (int64_t i = 0; i < m; i++)
        on_grid[i] = information[i] > 0.0 ? on_grid[i] : NAN;
    running_median(on_grid, (int32_t)m, (int32_t)how->half, continuum, median_space);
    lamostvac_divide(on_grid, information, continuum, m, how->low, how->high, &replacement, 1,
                     out_flux, out_ivar, counts);
    return counts[1] < how->min_good * counts[0] || (double)counts[2] / m < how->min_good;
}

/* Flux, inverse variance and medians of a spectrum at rest on the networks' grid, without the margins;
 * 1 where a pixel has no median. `space` has 3 padded pixels.
 */
static int resample(const double *wave, const double *flux, const double *slope,
                    const double *ivar, int64_t n, const struct preparation *how, double *space,
                    void *median_space, double *out_flux, double *out_ivar, double *out_smooth)
{
    int64_t m = how->network_padded, half = how->network_half, to = 0;
    double *on_grid = space, *information = space + m, *smooth = space + 2 * m;
    int unknown = 0;
    lamostvac_onto(wave, flux, slope, ivar, n, how->network_grid, how->network_logarithm, m,
                   how->network_width, m, on_grid, information);
    for (int64_t window = 0; window < how->n_windows; window++) {
        int64_t padded = how->windows[window], count = padded - 2 * half;
        memcpy(out_flux + to, on_grid + half, count * sizeof *out_flux);
        memcpy(out_ivar + to, information + half, count * sizeof *out_ivar);
        for (int64_t i = 0; i < padded; i++)
            on_grid[i] = information[i] > 0.0 ? on_grid[i] : NAN;
        running_median(on_grid, (int32_t)padded, (int32_t)half, smooth, median_space);
        memcpy(out_smooth + to, smooth + half, count * sizeof *out_smooth);
        for (int64_t i = 0; i < count; i++)
            unknown |= !(fabs(out_smooth[to + i]) <= DBL_MAX);
        to += count;
        on_grid += padded;
        information += padded;
    }
    return unknown;
}

/* Bytes that `lamostvac_prepare` needs for spectra of up to n pixels. */
int64_t lamostvac_prepare_space(int64_t n, const struct preparation *how)
{
    int64_t m = how->pixels > how->network_padded ? how->pixels : how->network_padded;
    return (8 * LANES * n + 3 * m) * (int64_t)sizeof(double) + (int64_t)median_space(m) + n;
}

/* Spectra as files store them, of up to n pixels, prepared for the emulator, and for networks up to
 * the medians.
 */
void lamostvac_prepare(const struct spectrum *spectra, int64_t count, int64_t n,
                       const struct preparation *how, const struct prepared *out, void *memory)
{
    int64_t m = how->pixels > how->network_padded ? how->pixels : how->network_padded;
    double *wave[LANES], *flux[LANES], *ivar[LANES], *slope[LANES], *at = memory;
    for (int lane = 0; lane < LANES; lane++, at += 4 * n) {
        wave[lane] = at;
        flux[lane] = at + n;
        ivar[lane] = at + 2 * n;
        slope[lane] = at + 3 * n;
    }
    double *lanes = at, *space = lanes + 4 * LANES * n;
    void *medians = space + 3 * m;
    uint8_t *good = (uint8_t *)medians + median_space(m);
    for (int64_t first = 0; first < count; first += LANES) {
        int64_t length[LANES], used = 0, which[LANES];
        for (int64_t i = first; i < count && i < first + LANES; i++) {
            out->unusual[i] = out->network_unusual[i] = 1;
            which[used] = i;
            length[used] = spectra[i].n;
            if (spectra[i].n >= 4)
                used += at_rest(spectra + i, how, wave[used], flux[used], ivar[used], good,
                                out->sum_ormask + i);
        }
        if (used == LANES)
            slopes_in_lanes((const double *const *)wave, (const double *const *)flux, length,
                            slope, lanes);
        else
            for (int64_t lane = 0; lane < used; lane++)
                spline_slopes(wave[lane], flux[lane], length[lane], slope[lane], lanes);
        for (int64_t lane = 0; lane < used; lane++) {
            int64_t i = which[lane];
            out->unusual[i] = (uint8_t)normalise(
                wave[lane], flux[lane], slope[lane], ivar[lane], length[lane],
                spectra[i].redshift, how, space, medians, out->flux + i * how->pixels,
                out->ivar + i * how->pixels);
            if (how->network_pixels)
                out->network_unusual[i] = (uint8_t)resample(
                    wave[lane], flux[lane], slope[lane], ivar[lane], length[lane], how, space,
                    medians, out->network_flux + i * how->network_pixels,
                    out->network_ivar + i * how->network_pixels,
                    out->network_smooth + i * how->network_pixels);
        }
    }
}

/* The second half for networks: rows of spectra (rows, n) over their continua, where the medians over
 * these replace what is not believed. `usable` (rows) says how many pixels are.
 */
void lamostvac_normalise_networks(const double *flux, const double *ivar, const double *smooth,
                                  const double *continuum, int64_t rows, int64_t n, float low,
                                  float high, float *out_flux, float *out_ivar, int64_t *usable)
{
    for (int64_t row = 0; row < rows; row++) {
        int64_t counts[3];
        for (int64_t i = row * n; i < (row + 1) * n; i++) {
            float local = (float)(smooth[i] / continuum[i]);
            out_flux[i] = (continuum[i] > 0) & (local >= low) & (local <= high) ? local : 1.0f;
        }
        lamostvac_divide(flux + row * n, ivar + row * n, continuum + row * n, n, low, high,
                         out_flux + row * n, n, out_flux + row * n, out_ivar + row * n, counts);
        usable[row] = counts[2];
    }
}
