/* The Apache Arrow IPC stream format. */
#include "engine/engine_int.h"

rf_status rf_rows_arrow_ipc(rf_rows *rows, uint64_t rows_max, rf_buf *out, uint64_t *row_count,
                            rf_err *err)
{
    (void)rows;
    (void)rows_max;
    (void)out;
    *row_count = 0;
    return rf_err_set(err, RF_EUNSUPPORTED, "results as Arrow are still to come: use json or csv");
}
