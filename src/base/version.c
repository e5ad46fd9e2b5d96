#include "base/base.h"

#include "build_info.h"

const char *rf_version(void)
{
    return RF_VERSION;
}

const char *rf_commit(void)
{
    return RF_GIT_COMMIT;
}
