/* Filling in why an event was refused. */
#include "event/event_int.h"

#include <stdio.h>
#include <string.h>

rf_status rfi_fault(rf_event_fault *fault, rf_status status, const char *rule, uint64_t position,
                    const char *fmt, ...)
{
    va_list args;
    fault->rule = rule;
    fault->path[0] = '\0';
    fault->position = position;
    va_start(args, fmt);
    vsnprintf(fault->detail, sizeof fault->detail, fmt, args);
    va_end(args);
    /* Names and values are quoted in it, perhaps cut. */
    rf_utf8_scrub(fault->detail, strlen(fault->detail));
    return status;
}

bool rfi_fault_path(rf_event_fault *fault, rf_str segment)
{
    char *path = fault->path;
    size_t n = strlen(path), at = n, room = sizeof fault->path - 1;
    if (at == room)
        return false;
    path[at++] = '/';
    for (size_t i = 0; i < segment.n; i++) {
        char c = segment.p[i];
        bool escape = c == '~' || c == '/';
        if (room - at < (escape ? 2u : 1u)) {
            path[n] = '\0';
            return false;
        }
        if (escape)
            path[at++] = '~';
        /* The path is a C string: NUL cannot be in it. */
        path[at++] = c == '~' ? '0' : c == '/' ? '1' : c == '\0' ? '?' : c;
    }
    path[at] = '\0';
    return true;
}

rf_status rfi_fault_no_memory(rf_event_fault *fault)
{
    return rfi_fault(fault, RF_ENOMEM, "no-memory", 0,
                     "The node has no memory for this event now; send it again later.");
}
