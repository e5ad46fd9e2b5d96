/* The aggregates of ours. */
#include "engine/engine_int.h"

rf_status rfi_aggregates_register(rf_engine *engine, rf_err *err)
{
    (void)engine;
    (void)err;
    return RF_OK;
}
