/* Hashes, checksums, randomness: see base.h. Third-party code does the arithmetic. */
#include "base/base.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>

#include <isa-l/crc.h>
#include <openssl/evp.h>
#include <sodium.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

int rf_hash_cmp(rf_hash128 a, rf_hash128 b)
{
    if (a.hi != b.hi)
        return a.hi < b.hi ? -1 : 1;
    return (a.lo > b.lo) - (a.lo < b.lo);
}

_Static_assert(RF_KEY_BYTES == crypto_shorthash_siphashx24_KEYBYTES, "one key size");

rf_hash128 rf_hash_keyed(const uint8_t key[static RF_KEY_BYTES], const void *p, size_t n)
{
    unsigned char out[crypto_shorthash_siphashx24_BYTES];
    crypto_shorthash_siphashx24(out, n == 0 ? (const unsigned char *)"" : p, n, key);
    return (rf_hash128){.lo = rf_le64(out), .hi = rf_le64(out + 8)};
}

rf_hash128 rf_hash_fast(const void *p, size_t n, uint64_t seed)
{
    XXH128_hash_t h = XXH3_128bits_withSeed(n == 0 ? "" : p, n, seed);
    return (rf_hash128){.lo = h.low64, .hi = h.high64};
}

uint32_t rf_crc32c(uint32_t crc, const void *p, size_t n)
{
    /* isa-l takes the length as an int, wants the register already inverted and does not invert it
     * at the end; its pointer is not const only by oversight. */
    unsigned char *at = (unsigned char *)(uintptr_t)p;
    uint32_t state = ~crc;
    while (n > 0) {
        size_t step = RF_MIN(n, (size_t)1 << 30);
        state = crc32_iscsi(at, (int)step, state);
        at += step;
        n -= step;
    }
    return ~state;
}

/* ---- SHA-256 -------------------------------------------------------------------------------- */

static EVP_MD *sha256_md;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

/* Fetched once: OpenSSL 3 otherwise looks the algorithm up under a lock at every use. */
static void sha256_fetch(void)
{
    sha256_md = EVP_MD_fetch(NULL, "SHA2-256", NULL);
}

void rf_sha256(const rf_str *pieces, size_t count, uint8_t out[static RF_SHA256_BYTES])
{
    pthread_once(&sha256_once, sha256_fetch);
    RF_ASSERT(sha256_md != NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    RF_ASSERT(ctx != NULL);
    int fine = EVP_DigestInit_ex(ctx, sha256_md, NULL);
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].n > 0)
            fine &= EVP_DigestUpdate(ctx, pieces[i].p, pieces[i].n);
    }
    unsigned n = 0;
    fine &= EVP_DigestFinal_ex(ctx, out, &n);
    EVP_MD_CTX_free(ctx);
    RF_ASSERT(fine == 1 && n == RF_SHA256_BYTES);
}

void rf_random(void *out, size_t n)
{
    char *at = out;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0) {
            RF_ASSERT(errno == EINTR);
            continue;
        }
        at += got;
        n -= (size_t)got;
    }
}

void rf_hex(const uint8_t *p, size_t n, char *out)
{
    static const char HEX[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = HEX[p[i] >> 4];
        out[2 * i + 1] = HEX[p[i] & 15];
    }
    out[2 * n] = '\0';
}
