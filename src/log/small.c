/* Two copies of one checksummed page in one file. */
#include "log/format_int.h"
#include "log/small_int.h"

#include <stdlib.h>

enum { S_VERSION = 8, S_BYTES = 12, S_CONTENT = 16, S_CRC = RFI_PAGE_BYTES - 4 };
_Static_assert(RFI_SMALL_BYTES_MAX <= S_CRC - S_CONTENT, "fits the page");

rf_status rfi_small_write(rf_io *io, const char *path, const char magic[static 8],
                          const void *bytes, uint32_t n, rf_err *err)
{
    static const size_t BOTH = (size_t)2 * RFI_PAGE_BYTES;
    RF_ASSERT(n <= RFI_SMALL_BYTES_MAX);
    uint8_t *page = rf_xcalloc(1, BOTH);
    memcpy(page, magic, 8);
    rfi_put32(page + S_VERSION, RFI_FORMAT_VERSION);
    rfi_put32(page + S_BYTES, n);
    memcpy(page + S_CONTENT, bytes, n);
    rfi_put32(page + S_CRC, rf_crc32c(0, page, S_CRC));
    memcpy(page + RFI_PAGE_BYTES, page, RFI_PAGE_BYTES);
    rf_status st = rf_io_write_file(io, path, (rf_str){(const char *)page, BOTH}, err);
    free(page);
    return st;
}

static bool copy_is_good(const uint8_t *page, const char *magic)
{
    return memcmp(page, magic, 8) == 0 && rfi_get32(page + S_CRC) == rf_crc32c(0, page, S_CRC);
}

rf_status rfi_small_read(rf_io *io, const char *path, const char magic[static 8], void *bytes,
                         uint32_t n, unsigned *copies_bad, rf_err *err)
{
    rf_buf file;
    rf_buf_init(&file, SIZE_MAX);
    *copies_bad = 0;
    rf_status st = rf_io_read_file(io, path, (uint64_t)16 * RFI_PAGE_BYTES, &file, err);
    const uint8_t *good = NULL;
    for (size_t copy = 0; st == RF_OK && copy < 2; copy++) {
        const uint8_t *page = (const uint8_t *)file.p + copy * RFI_PAGE_BYTES;
        if (file.n < (copy + 1) * RFI_PAGE_BYTES || !copy_is_good(page, magic))
            ++*copies_bad;
        else
            good = page;
    }
    if (st == RF_OK && file.n != (size_t)2 * RFI_PAGE_BYTES && *copies_bad == 0)
        *copies_bad = 1;
    if (st == RF_ETOOBIG || (st == RF_OK && good == NULL))
        st = rf_err_set(err, RF_ECORRUPT, "%s: both copies are damaged", path);
    else if (st == RF_OK && rfi_get32(good + S_VERSION) != RFI_FORMAT_VERSION)
        st = rf_err_set(err, RF_EUNSUPPORTED, "%s: format version %u; this refold reads %u", path,
                        rfi_get32(good + S_VERSION), RFI_FORMAT_VERSION);
    else if (st == RF_OK && rfi_get32(good + S_BYTES) != n)
        st = rf_err_set(err, RF_ECORRUPT, "%s: %u bytes where %u belong", path,
                        rfi_get32(good + S_BYTES), n);
    if (st == RF_OK)
        memcpy(bytes, good + S_CONTENT, n);
    rf_buf_clear(&file);
    return st;
}
