/*
 * Content codings as streams: gzip (RFC 1952, several members in a row) and zstd (RFC 8878, several
 * frames in a row). Whether a body expands too far is the caller's to judge: it sees both sides.
 */
#include "ingest/ingest_int.h"

#include <stdlib.h>

#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define ZSTD_WINDOW_LOG_MAX 23 /* 8 MiB: what RFC 8878 asks a decoder to support */

struct rfi_coding {
    rf_ingest_coding kind;
    z_stream gzip;
    ZSTD_DCtx *zstd;
    bool begun; /* there was input */
    bool open;  /* inside a member or frame */
};

rfi_coding *rfi_ingest_coding_new(rf_ingest_coding kind)
{
    rfi_coding *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->kind = kind;
    if (kind == RF_CODING_GZIP) {
        if (inflateInit2(&c->gzip, 15 + 16) == Z_OK) /* 15: any window; 16: gzip and nothing else */
            return c;
    } else {
        RF_ASSERT(kind == RF_CODING_ZSTD);
        c->zstd = ZSTD_createDCtx();
        if (c->zstd != NULL && !ZSTD_isError(ZSTD_DCtx_setParameter(c->zstd, ZSTD_d_windowLogMax,
                                                                    ZSTD_WINDOW_LOG_MAX)))
            return c;
    }
    rfi_ingest_coding_free(&c);
    return NULL;
}

void rfi_ingest_coding_free(rfi_coding **coding)
{
    rfi_coding *c = *coding;

    if (c == NULL)
        return;
    if (c->kind == RF_CODING_GZIP)
        inflateEnd(&c->gzip);
    ZSTD_freeDCtx(c->zstd); /* takes NULL */
    free(c);
    *coding = NULL;
}

static rf_status run_gzip(rfi_coding *c, rfi_coding_step *s, const char **why)
{
    z_stream *z = &c->gzip;

    /* zlib counts in unsigned int; what does not fit is for the next call. */
    while (s->out_n > 0) {
        uInt in = (uInt)RF_MIN(s->in_n, 1u << 30), out = (uInt)RF_MIN(s->out_n, 1u << 30);
        int rc;

        z->next_in = (Bytef *)(uintptr_t)s->in;
        z->avail_in = in;
        z->next_out = (Bytef *)s->out;
        z->avail_out = out;
        rc = inflate(z, Z_NO_FLUSH);
        c->open = c->open || z->avail_in < in;
        s->in += in - z->avail_in;
        s->in_n -= in - z->avail_in;
        s->out += out - z->avail_out;
        s->out_n -= out - z->avail_out;
        if (rc == Z_STREAM_END) {
            c->open = false;
            if (inflateReset(z) != Z_OK)
                break;
        } else if (rc == Z_MEM_ERROR) {
            return RF_ENOMEM;
        } else if (rc != Z_OK && rc != Z_BUF_ERROR) {
            *why = z->msg != NULL ? z->msg : "it is not gzip";
            return RF_EINVAL;
        }
        if (s->in_n == 0 && z->avail_out > 0)
            break;
        if (rc == Z_BUF_ERROR) /* no progress is possible */
            break;
    }
    return RF_OK;
}

static rf_status run_zstd(rfi_coding *c, rfi_coding_step *s, const char **why)
{
    ZSTD_inBuffer in = {s->in, s->in_n, 0};
    ZSTD_outBuffer out = {s->out, s->out_n, 0};
    rf_status st = RF_OK;

    while (out.pos < out.size) {
        size_t in_before = in.pos, out_before = out.pos;
        size_t rc = ZSTD_decompressStream(c->zstd, &out, &in);

        if (ZSTD_isError(rc)) {
            ZSTD_ErrorCode code = ZSTD_getErrorCode(rc);
            st = code == ZSTD_error_memory_allocation ? RF_ENOMEM : RF_EINVAL;
            *why = code == ZSTD_error_frameParameter_windowTooLarge
                       ? "it needs a window of more than 8 MiB; compress without --long or --ultra"
                       : ZSTD_getErrorName(rc);
            break;
        }
        if (in.pos == in_before && out.pos == out_before)
            break; /* nothing to do: rc speaks of what would come next */
        c->open = rc != 0;
        if (in.pos == in.size && out.pos < out.size)
            break;
    }
    s->in += in.pos;
    s->in_n -= in.pos;
    s->out += out.pos;
    s->out_n -= out.pos;
    return st;
}

rf_status rfi_ingest_coding_run(rfi_coding *c, rfi_coding_step *s, const char **why)
{
    rf_status st;

    c->begun = c->begun || s->in_n > 0;
    st = c->kind == RF_CODING_GZIP ? run_gzip(c, s, why) : run_zstd(c, s, why);
    s->more = st == RF_OK && s->out_n == 0;
    return st;
}

rf_status rfi_ingest_coding_end(const rfi_coding *c, const char **why)
{
    if (!c->begun) {
        *why = "it is empty";
        return RF_EINVAL;
    }
    if (c->open) {
        *why = "it ends in the middle";
        return RF_EINVAL;
    }
    return RF_OK;
}
