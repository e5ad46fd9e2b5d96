/*
 * base: what every module stands on. Errors, assertions, slices, buffers, arenas, time, hashing,
 * diagnostics, histograms and the one seam to the disk (rf_io). Knows nothing of events.
 *
 * Conventions of the whole project
 *   - `const T *` arguments are borrowed until the function returns; a function that keeps one says
 * so.
 *   - An object is made by open/new (into `**out`) and ended by close/free, which take the address
 *     of the pointer, accept NULL inside it, and leave NULL. init/clear do the same for values.
 *   - A function that can fail for reasons outside the program returns rf_status and, when that is
 *     not RF_OK, has filled `rf_err *err` (never NULL). Bugs of our own end in RF_ASSERT.
 */
#ifndef RF_BASE_H
#define RF_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RF_CHECKED __attribute__((warn_unused_result))
#define RF_PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))
#define RF_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define RF_MIN(a, b) ((a) < (b) ? (a) : (b))
#define RF_MAX(a, b) ((a) > (b) ? (a) : (b))

/* ---- errors ------------------------------------------------------------------------------- */

/* What the caller can do about it. The texts and HTTP statuses hang on these (server/). */
typedef enum rf_status {
    RF_OK = 0,
    RF_EINVAL,     /* the input is wrong: change it */
    RF_ENOTFOUND,  /* no such thing */
    RF_ECONFLICT,  /* same id with other content, or the expected revision is not the actual one */
    RF_EFORBIDDEN, /* a rule of ours refuses it */
    RF_ETOOBIG,    /* over a stated limit */
    RF_EFULL,      /* no space: nothing stored, try later */
    RF_EBUSY,      /* overloaded, starting or locked by another: try later */
    RF_EFENCED,    /* the partition stopped taking writes; outcome of in-flight ones unknown */
    RF_ETIMEOUT,   /* a deadline passed */
    RF_ECANCELED,  /* stopped on request */
    RF_ECORRUPT,   /* bytes on disk are not what was written */
    RF_EUNSUPPORTED, /* understood, but this version cannot do it */
    RF_EIO,          /* the operating system refused: os_errno says how */
    RF_ENOMEM,       /* out of memory or over a memory limit */
    RF_EINTERNAL,    /* should not happen; please report */
    RF_STATUS_COUNT
} rf_status;

#define RF_ERR_TEXT_MAX 512

/* What happened. Lives on the caller's stack; no allocation. Zero-initialise: `rf_err err = {0};`
 */
typedef struct rf_err {
    rf_status status;
    int os_errno;               /* 0 when the operating system was not the cause */
    char text[RF_ERR_TEXT_MAX]; /* one line of UTF-8, fit to print, NUL-terminated */
} rf_err;

/* The origin of an error: stores status and text, returns status (so: return rf_err_set(...)). */
rf_status rf_err_set(rf_err *err, rf_status status, const char *fmt, ...) RF_PRINTF(3, 4);

/* The same from errno: picks the status (ENOSPC, EDQUOT, EFBIG: RF_EFULL; ENOENT: RF_ENOTFOUND;
 * ENOMEM: RF_ENOMEM; else RF_EIO) and appends strerror. */
rf_status rf_err_set_errno(rf_err *err, int os_errno, const char *fmt, ...) RF_PRINTF(3, 4);

/* A level on the way up adds one phrase in front: "opening log/default/0: <old text>". */
void rf_err_note(rf_err *err, const char *fmt, ...) RF_PRINTF(2, 3);

/* Lower-case name such as "conflict"; never NULL. */
const char *rf_status_name(rf_status status);

/* On in release builds too. Prints file, line and expression, then aborts. */
#define RF_ASSERT(expr) ((expr) ? (void)0 : rf_assert_failed(#expr, __FILE__, __LINE__))
_Noreturn void rf_assert_failed(const char *expr, const char *file, int line);

/* ---- version -------------------------------------------------------------------------------- */

const char *rf_version(void); /* "0.1.0" */
const char *rf_commit(void);  /* git commit at build, or "unknown" */

/* ---- slices, buffers, arenas ---------------------------------------------------------------- */

/* Bytes somebody else owns; not NUL-terminated. p may be NULL when n is 0. */
typedef struct rf_str {
    const char *p;
    size_t n;
} rf_str;

#define RF_STR(literal) ((rf_str){("" literal), sizeof(literal) - 1})
#define RF_STR_ARG(s) (int)(s).n, (s).p /* for "%.*s" */

rf_str rf_str_from(const char *cstr); /* NULL gives the empty slice */
bool rf_str_eq(rf_str a, rf_str b);
bool rf_str_starts(rf_str s, rf_str prefix);
int rf_str_cmp(rf_str a, rf_str b); /* bytewise, shorter first on a common prefix */
/* Whole string is a decimal number without sign that fits; false otherwise. */
bool rf_str_to_u64(rf_str s, uint64_t *out);
/* Well-formed UTF-8 (RFC 3629, no surrogates). *bad_at gets the first bad byte's index when false.
 */
bool rf_utf8_valid(const char *p, size_t n, size_t *bad_at);
/* Replaces every byte that is not part of well-formed UTF-8 by '?'. */
void rf_utf8_scrub(char *p, size_t n);
/* Levenshtein distance capped at `max`; for "did you mean". */
size_t rf_edit_distance(rf_str a, rf_str b, size_t max);

/*
 * Growable byte buffer with a maximum set at init. Once a write fails (maximum or memory), `failed`
 * stays true and later writes do nothing, so that writers check once at the end.
 */
typedef struct rf_buf {
    char *p;
    size_t n, cap, max;
    bool failed;
} rf_buf;

void rf_buf_init(rf_buf *b, size_t max_bytes); /* allocates nothing */
void rf_buf_clear(rf_buf *b);                  /* frees; the buffer can be used again */
void rf_buf_reset(rf_buf *b);                  /* n = 0, failed = false, keeps memory */
bool rf_buf_reserve(rf_buf *b, size_t extra);  /* room for extra more bytes */
void rf_buf_add(rf_buf *b, const void *p, size_t n);
void rf_buf_add_str(rf_buf *b, rf_str s);
void rf_buf_add_cstr(rf_buf *b, const char *s);
void rf_buf_add_char(rf_buf *b, char c);
void rf_buf_add_u64(rf_buf *b, uint64_t v); /* decimal */
void rf_buf_add_i64(rf_buf *b, int64_t v);
void rf_buf_addf(rf_buf *b, const char *fmt, ...) RF_PRINTF(2, 3);
/* A JSON string with quotes; control characters, quote and backslash escaped; bytes must be UTF-8.
 */
void rf_buf_add_json_str(rf_buf *b, rf_str s);
/* Appends a NUL that n does not count, and returns p; NULL when failed. */
const char *rf_buf_cstr(rf_buf *b);
rf_str rf_buf_str(const rf_buf *b);

/* Memory that is given back all at once. Not thread-safe: one owner. */
typedef struct rf_arena rf_arena;
rf_arena *rf_arena_new(size_t block_bytes); /* NULL without memory */
void rf_arena_free(rf_arena **a);
void rf_arena_reset(rf_arena *a); /* keeps the first block */
void *rf_arena_alloc(rf_arena *a,
                     size_t bytes);         /* 16-byte aligned, not zeroed; NULL without memory */
rf_str rf_arena_dup(rf_arena *a, rf_str s); /* adds a NUL after it; p NULL without memory */
char *rf_arena_printf(rf_arena *a, const char *fmt, ...) RF_PRINTF(2, 3);
size_t rf_arena_bytes(const rf_arena *a); /* bytes held from the system */

/* malloc family that abort with a message when memory is gone; for start-up and cold paths only. */
void *rf_xmalloc(size_t bytes);
void *rf_xcalloc(size_t count, size_t bytes);
void *rf_xrealloc(void *p, size_t bytes);
char *rf_xstrdup(const char *s);
char *rf_xstrndup(rf_str s); /* NUL-terminated copy */

/* ---- time ------------------------------------------------------------------------------------ */

#define RF_TIME_NONE INT64_MIN
#define RF_TIME_TEXT_MAX 40

int64_t rf_wall_us(void); /* microseconds since 1970-01-01T00:00:00Z; may jump */
int64_t rf_mono_us(void); /* monotonic, for every timeout */
/* RFC 3339 timestamp (date, 'T' or 't' or ' ', time, optional fraction, 'Z' or offset) to UTC
 * microseconds; further digits are cut. Years 0001..9999; leap second 60 reads as 59.999999. */
bool rf_time_parse(rf_str text, int64_t *out_us);
/* Writes "YYYY-MM-DDTHH:MM:SS[.ffffff]Z" (fraction only when not zero, without trailing zeros);
 * returns the length. */
size_t rf_time_format(int64_t us, char out[static RF_TIME_TEXT_MAX]);
/* The lowest `width` decimal digits of v, with leading zeros and no NUL; returns to + width. printf
 * is what a profile of an import shows when times are written by it. */
char *rf_put_digits(char *to, uint64_t v, unsigned width);

/* ---- hashing ----------------------------------------------------------------------------------
 */

typedef struct rf_hash128 {
    uint64_t lo, hi;
} rf_hash128;

static inline bool rf_hash_eq(rf_hash128 a, rf_hash128 b)
{
    return a.lo == b.lo && a.hi == b.hi;
}
int rf_hash_cmp(rf_hash128 a, rf_hash128 b); /* by hi, then lo */

#define RF_KEY_BYTES 16
/* SipHash-2-4-128 with a secret key: for keys that producers choose. */
rf_hash128 rf_hash_keyed(const uint8_t key[static RF_KEY_BYTES], const void *p, size_t n);
/* XXH3-128 with a seed: for trusted bytes and for content (fast, not keyed against attack). */
rf_hash128 rf_hash_fast(const void *p, size_t n, uint64_t seed);
/* CRC-32C (Castagnoli, RFC 3720); `crc` is 0 or the result for the bytes before. */
uint32_t rf_crc32c(uint32_t crc, const void *p, size_t n);
#define RF_SHA256_BYTES 32
/* SHA-256 over `count` pieces in order. */
void rf_sha256(const rf_str *pieces, size_t count, uint8_t out[static RF_SHA256_BYTES]);
/* Random bytes from the kernel; aborts when it has none. */
void rf_random(void *out, size_t n);
void rf_hex(const uint8_t *p, size_t n, char *out /* 2n+1 */);

/* base64url without padding (RFC 4648 §5) and base64 with padding (§4); decode is strict. */
void rf_buf_add_base64url(rf_buf *b, const void *p, size_t n);
void rf_buf_add_base64(rf_buf *b, const void *p, size_t n);
bool rf_base64url_decode(rf_str text, rf_buf *out);
bool rf_base64_decode(rf_str text, rf_buf *out);

/* ---- histogram ----------------------------------------------------------------------------------
 */

/*
 * Log-linear histogram of microseconds (32 sub-buckets per power of two: 3 % error). Any thread may
 * record; counts are atomic. Readers see a sum that is exact once writers are quiet.
 */
#define RF_HIST_BUCKETS 1024
typedef struct rf_hist {
    _Atomic uint64_t bucket[RF_HIST_BUCKETS];
    _Atomic uint64_t count, sum_us;
} rf_hist;

void rf_hist_record(rf_hist *h, uint64_t us);
uint64_t rf_hist_quantile(const rf_hist *h, double q); /* us; 0 when empty */
/* Number of records at or below `us`, for Prometheus buckets; those that share its bucket count. */
uint64_t rf_hist_count_le(const rf_hist *h, uint64_t us);

/* ---- diagnostics (the program's own log lines; the event log is log/)
 * ---------------------------- */

typedef enum rf_diag_level {
    RF_DIAG_DEBUG,
    RF_DIAG_INFO,
    RF_DIAG_WARN,
    RF_DIAG_ERROR
} rf_diag_level;

/* Process-wide, set once at start before threads. `who` ("write", "read", "cli") is kept. */
void rf_diag_init(rf_diag_level level, bool json, const char *who);
/* One line to stderr, whole (one write). Only edges log: routes, commands, worker loops. */
void rf_diag(rf_diag_level level, const char *fmt, ...) RF_PRINTF(2, 3);
bool rf_diag_level_parse(rf_str text, rf_diag_level *out);

/* ---- the disk
 * --------------------------------------------------------------------------------------- */

/*
 * The one seam between refold and the disk: everything the write half does to files goes through
 * it, so that tests can put a simulated or failing disk behind. Implementations: rf_io_posix();
 * tests/support has a simulated disk and a fault injector.
 * Thread: functions may be called from any thread; one rf_file by one thread at a time, except
 * pread, which is free of that. Paths are NUL-terminated; relative ones are the process's.
 */
typedef struct rf_file rf_file; /* owned by the rf_io that opened it */
typedef struct rf_io rf_io;

enum {
    RF_IO_READ = 1,
    RF_IO_WRITE = 2,  /* with READ: both */
    RF_IO_CREATE = 4, /* create when missing */
    RF_IO_EXCL = 8,   /* with CREATE: fail with RF_ECONFLICT when it exists */
};

struct rf_io {
    void *self;
    rf_status (*open)(rf_io *io, const char *path, int flags, rf_file **out, rf_err *err);
    void (*close)(rf_io *io, rf_file **file);
    /* Reads up to n bytes; *got < n only at the end of the file. */
    rf_status (*pread)(rf_io *io, rf_file *f, void *buf, size_t n, uint64_t at, size_t *got,
                       rf_err *err);
    /* Writes all n bytes or fails; after a failure any part may have been written. */
    rf_status (*pwrite)(rf_io *io, rf_file *f, const void *buf, size_t n, uint64_t at, rf_err *err);
    rf_status (*sync)(rf_io *io, rf_file *f, rf_err *err); /* fdatasync: never retried by callers */
    rf_status (*size)(rf_io *io, rf_file *f, uint64_t *bytes, rf_err *err);
    rf_status (*truncate)(rf_io *io, rf_file *f, uint64_t bytes, rf_err *err);
    /* Reserves zeroed space so that later writes inside it do not change the file's size. */
    rf_status (*allocate)(rf_io *io, rf_file *f, uint64_t bytes, rf_err *err);
    /* Read-only view of the first `bytes` of the file; valid until unmap. */
    rf_status (*map)(rf_io *io, rf_file *f, uint64_t bytes, const void **out, rf_err *err);
    void (*unmap)(rf_io *io, const void *p, uint64_t bytes);
    rf_status (*rename)(rf_io *io, const char *from, const char *to, rf_err *err);
    rf_status (*unlink)(rf_io *io, const char *path, rf_err *err);
    rf_status (*mkdir)(rf_io *io, const char *path, rf_err *err); /* fine when it exists */
    rf_status (*sync_dir)(rf_io *io, const char *path, rf_err *err);
    /* Calls each(name) for every entry but "." and "..", in no order. RF_ENOTFOUND: no directory.
     */
    rf_status (*list)(rf_io *io, const char *path, void (*each)(void *arg, const char *name),
                      void *arg, rf_err *err);
    /* Takes an exclusive advisory lock on an open file for as long as it is open; RF_EBUSY when
     * another process (or another open of this one) holds it. */
    rf_status (*lock)(rf_io *io, rf_file *f, rf_err *err);
};

rf_io *rf_io_posix(void); /* process-wide, not to be freed */

/* Reads a whole file of at most max bytes into out (reset first). */
RF_CHECKED rf_status rf_io_read_file(rf_io *io, const char *path, uint64_t max, rf_buf *out,
                                     rf_err *err);
/* Writes path durably and atomically: temporary beside it, sync, rename, sync of the directory. */
RF_CHECKED rf_status rf_io_write_file(rf_io *io, const char *path, rf_str bytes, rf_err *err);
/* mkdir -p. */
RF_CHECKED rf_status rf_io_mkdirs(rf_io *io, const char *path, rf_err *err);

/* ---- little-endian access to unaligned bytes
 * ------------------------------------------------------- */

uint16_t rf_le16(const void *p);
uint32_t rf_le32(const void *p);
uint64_t rf_le64(const void *p);
void rf_put_le16(void *p, uint16_t v);
void rf_put_le32(void *p, uint32_t v);
void rf_put_le64(void *p, uint64_t v);

#endif
