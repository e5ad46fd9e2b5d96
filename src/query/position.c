/* What the position in an answer says: every event before it is in the answer. So of several inputs
 * it is the least: the end of the log that event types were read to, the points that projections
 * had reached before the statement began. */
#include "query/query_int.h"

void rfi_position_lower(rf_position *p, const rf_position *other)
{
    rf_position least = {0};

    for (size_t i = 0; i < p->count; i++) {
        rf_str domain = rf_str_from(p->parts[i].domain);
        uint32_t partition = p->parts[i].partition;
        uint64_t next = RF_MIN(p->parts[i].next, rf_position_get(other, domain, partition));

        if (next > 0) /* a part that is not there is at 0: one point has one form */
            rf_position_raise(&least, domain, partition, next);
    }
    rf_position_clear(p);
    *p = least;
}
