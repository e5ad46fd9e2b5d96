/* Any bytes as a schema and as a file name: refused with a text, or columns that can be found. */
#include "schema/schema.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    rf_str text = {(const char *)data, n}, type;
    rf_columns *c = NULL;
    uint32_t version;
    rf_err err = {0};
    size_t bad;

    if (rf_columns_parse(RF_STR("t"), 1, text, &c, &err) == RF_OK) {
        for (size_t i = 0; i < c->count; i++)
            RF_ASSERT(rf_columns_find(c, rf_str_from(c->columns[i].name)) == i);
        rf_columns_free(&c);
    } else {
        RF_ASSERT(c == NULL && err.text[0] != 0);
        RF_ASSERT(rf_utf8_valid(err.text, strlen(err.text), &bad));
    }
    memset(&err, 0, sizeof(err));
    if (rf_schema_file_name(text, &type, &version, &err) == RF_OK)
        RF_ASSERT(type.n > 0 && version > 0);
    else
        RF_ASSERT(err.text[0] != 0 && rf_utf8_valid(err.text, strlen(err.text), &bad));
    return 0;
}
