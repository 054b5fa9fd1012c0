/* Time: monotonic for timers, UTC for what people and records read. */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_monotonic_ms(void); /* CLOCK_MONOTONIC, milliseconds */
int64_t clock_boot_ms(void);      /* CLOCK_BOOTTIME, milliseconds: counts suspend too */
int64_t clock_utc_us(void);       /* CLOCK_REALTIME, microseconds since 1970 */

/* "2026-11-24T01:02:03Z" (utc_us in microseconds); buffer ≥ 21 bytes. */
void clock_format_utc(int64_t utc_us, char *buffer, size_t size);
/* "2026-11-24 02:02:03" in the local time zone; buffer ≥ 20 bytes. */
void clock_format_local(int64_t utc_us, char *buffer, size_t size);

#endif
