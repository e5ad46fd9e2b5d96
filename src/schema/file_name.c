/* The name of a schema's file says which type and version it describes. */
#include "schema/schema.h"

#include <string.h>

static rf_status refuse(rf_str file_name, const char *why, rf_err *err)
{
    size_t n = RF_MIN(file_name.n, (size_t)160);

    while (n > 0 && n < file_name.n && ((unsigned char)file_name.p[n] & 0xc0) == 0x80)
        n--;
    return rf_err_set(err, RF_EINVAL,
                      "\"%.*s\" %s; a schema's file is called TYPE.vN.json, such as "
                      "order.placed.v1.json",
                      (int)n, file_name.p, why);
}

rf_status rf_schema_file_name(rf_str file_name, rf_str *type, uint32_t *version, rf_err *err)
{
    static const char ending[] = ".json";
    size_t n = file_name.n, digits;
    uint64_t number;

    if (!rf_utf8_valid(file_name.p, n, &(size_t){0}))
        return rf_err_set(err, RF_EINVAL, "the name of a schema's file is not UTF-8");
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)file_name.p[i] < 0x20 || file_name.p[i] == '/')
            return refuse(file_name, "has a slash or a control character in it", err);
    }
    if (n < sizeof(ending) - 1 || memcmp(file_name.p + n - 5, ending, 5) != 0)
        return refuse(file_name, "does not end in .json", err);
    n -= 5;
    for (digits = 0; digits < n; digits++) {
        char c = file_name.p[n - 1 - digits];
        if (c < '0' || c > '9')
            break;
    }
    if (digits == 0 || n < digits + 3 || memcmp(file_name.p + n - digits - 2, ".v", 2) != 0)
        return refuse(file_name, "names no version", err);
    /* No leading zeros: one version has one file. */
    if (!rf_str_to_u64((rf_str){file_name.p + n - digits, digits}, &number) ||
        number > UINT32_MAX || file_name.p[n - digits] == '0')
        return refuse(file_name, "has a version that is not 1, 2, 3 ...", err);
    *type = (rf_str){file_name.p, n - digits - 2};
    *version = (uint32_t)number;
    return RF_OK;
}
