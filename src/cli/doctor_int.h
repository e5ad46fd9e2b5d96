/* refold doctor, in two rooms: what is checked, and how it is shown. */
#ifndef RFI_CLI_DOCTOR_H
#define RFI_CLI_DOCTOR_H

#include "cli/config_int.h"

typedef enum rfi_health { RFI_OK, RFI_WARN, RFI_FAIL } rfi_health;

/* Where findings go. `found` is one line; `advice`, what to do, is NULL when all is well. */
typedef struct rfi_doctor {
    const rfi_config *config;
    char *place; /* the data directory, or its nearest parent that exists */
    void (*report)(void *arg, rfi_health health, const char *what, const char *found,
                   const char *advice);
    void *arg;
} rfi_doctor;

/* Each reports one finding, or several. */
void rfi_check_kernel(rfi_doctor *d);
void rfi_check_memory(rfi_doctor *d);
void rfi_check_limits(rfi_doctor *d);
void rfi_check_clock(rfi_doctor *d);
void rfi_check_engine(rfi_doctor *d);
void rfi_check_port(rfi_doctor *d);
void rfi_check_directory(rfi_doctor *d); /* finds `place`; the disk checks come after it */
void rfi_check_space(rfi_doctor *d);
void rfi_check_flush(rfi_doctor *d);

void rfi_finding(rfi_doctor *d, rfi_health health, const char *what, const char *advice,
                 const char *fmt, ...) RF_PRINTF(5, 6);

#endif
