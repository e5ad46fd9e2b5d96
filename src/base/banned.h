/*
 * Functions nobody may call here: they overrun, lose errors, or share hidden state between threads.
 * The build puts this file in front of every source of ours (cmake/flags.cmake), so that a use
 * fails to compile. What to write instead stands beside each.
 *
 * The headers that declare them come first: after the poison their very names are errors.
 */
#ifndef RF_BANNED_H
#define RF_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Macros of their own, in some C libraries. */
#undef sprintf
#undef vsprintf

#pragma GCC poison strcpy strcat stpcpy /* memcpy with a known length, rf_buf */
#pragma GCC poison strncpy strncat      /* they pad, or forget the NUL */
#pragma GCC poison sprintf vsprintf     /* snprintf, rf_buf */
#pragma GCC poison gets                 /* fgets */
#pragma GCC poison strtok               /* rf_str, strtok_r */
#pragma GCC poison atoi atol atoll atof /* strtol and its kin, with errno and end checked */
#pragma GCC poison gmtime localtime ctime asctime /* gmtime_r, localtime_r */
#pragma GCC poison tmpnam tempnam mktemp          /* mkstemp, mkdtemp */

#endif
