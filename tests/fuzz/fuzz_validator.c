/*
 * A schema and a value, both from outside: the bytes up to the first NUL are the schema, the rest
 * is the value. Compiling and checking must end, leak nothing and agree with themselves.
 */
#include <string.h>

#include <yyjson.h>

#include "schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size == 0 ? NULL : memchr(data, 0, size);
    size_t n = nul == NULL ? size : (size_t)(nul - data);
    rf_validator *v = NULL;
    rf_err err = {0};

    if (rf_validator_new(RF_STR("urn:fuzz"), (rf_str){(const char *)data, n}, NULL, NULL, &v,
                         &err) != RF_OK)
        return 0;
    const char *text = nul == NULL ? "null" : (const char *)nul + 1;
    yyjson_doc *doc = yyjson_read(text, nul == NULL ? 4 : size - n - 1, YYJSON_READ_BIGNUM_AS_RAW);

    if (doc != NULL) {
        rf_validation *work = rf_validation_new();
        rf_violation violation;
        bool first = rf_validator_check(v, work, yyjson_doc_get_root(doc), &violation);

        RF_ASSERT(first == (violation.rule[0] == '\0'));
        RF_ASSERT(first == rf_validator_check(v, work, yyjson_doc_get_root(doc), NULL));
        rf_validation_free(&work);
    }
    yyjson_doc_free(doc);
    rf_validator_free(&v);
    return 0;
}
