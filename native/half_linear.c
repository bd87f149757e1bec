/* A linear layer whose weights are stored in half precision, for one input: half the memory to read, which is what takes
 * the time. Weights are converted to single precision as they are read, so that results are those of single precision.
 */
#define PY_SSIZE_T_CLEAN
#include "native.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>

enum { LANES = 8, ROWS = 4 };
/* Number of weights from which other threads may run meanwhile. */
enum { LARGE = 1 << 17 };

/* outputs = weights inputs + bias, for `rows` rows of `columns` weights, a multiple of LANES. */
__attribute__((target("avx2,fma,f16c"))) static void multiply(const unsigned short *weights, const float *bias,
                                                              const float *inputs, float *outputs, Py_ssize_t rows,
                                                              Py_ssize_t columns, int relu) {
    for (Py_ssize_t row = 0; row < rows; row += ROWS) {
        Py_ssize_t count = rows - row < ROWS ? rows - row : ROWS;
        const unsigned short *of_row[ROWS];
        __m256 sums[ROWS];
        for (int r = 0; r < ROWS; r++) {
            of_row[r] = weights + (row + (r < count ? r : 0)) * columns;
            sums[r] = _mm256_setzero_ps();
        }
        for (Py_ssize_t column = 0; column < columns; column += LANES) {
            __m256 input = _mm256_loadu_ps(inputs + column);
            for (int r = 0; r < ROWS; r++)
                sums[r] = _mm256_fmadd_ps(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(of_row[r] + column))), input,
                                          sums[r]);
        }
        for (int r = 0; r < count; r++) {
            __m128 sum = _mm_add_ps(_mm256_castps256_ps128(sums[r]), _mm256_extractf128_ps(sums[r], 1));
            sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
            float output = _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum))) + bias[row + r];
            outputs[row + r] = relu && output < 0 ? 0 : output;
        }
    }
}

/* Not every compiler knows F16C by name. */
static int supported(void) {
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __get_cpuid(1, &a, &b, &c, &d) &&
           (c & bit_F16C);
}
#else
enum { LANES = 8, LARGE = 0 };

static void multiply(const unsigned short *weights, const float *bias, const float *inputs, float *outputs,
                     Py_ssize_t rows, Py_ssize_t columns, int relu) {
    (void)weights, (void)bias, (void)inputs, (void)outputs, (void)rows, (void)columns, (void)relu;
}

static int supported(void) { return 0; }
#endif

PyObject *has_half_linear(PyObject *module, PyObject *nothing) {
    (void)module, (void)nothing;
    return PyBool_FromLong(supported());
}

PyObject *half_linear(PyObject *module, PyObject *arguments) {
    Py_buffer weights, bias, inputs, outputs;
    int relu;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*y*w*p:half_linear", &weights, &bias, &inputs, &outputs, &relu)) return NULL;
    Py_ssize_t rows = outputs.len / (Py_ssize_t)sizeof(float), columns = inputs.len / (Py_ssize_t)sizeof(float);
    int fits = supported() && columns % LANES == 0 && bias.len == outputs.len &&
               weights.len == rows * columns * (Py_ssize_t)sizeof(unsigned short);
    if (fits && rows * columns < LARGE) {
        multiply(weights.buf, bias.buf, inputs.buf, outputs.buf, rows, columns, relu);
    } else if (fits) {
        Py_BEGIN_ALLOW_THREADS
        multiply(weights.buf, bias.buf, inputs.buf, outputs.buf, rows, columns, relu);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&weights);
    PyBuffer_Release(&bias);
    PyBuffer_Release(&inputs);
    PyBuffer_Release(&outputs);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "the arrays of the layer do not have the expected sizes");
        return NULL;
    }
    Py_RETURN_NONE;
}
