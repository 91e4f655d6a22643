/* What a loop shows of itself to the watchdog, which reads it in its thread, without the GIL. */
#ifndef MEANTIME_PULSE_H
#define MEANTIME_PULSE_H

#include <stdint.h>

struct pulse {
    uint64_t step;     /* counts what the loop runs: callbacks, steps of tasks, deliveries */
    uint64_t turn;     /* counts turns, from after the sleep to the next one */
    int64_t asked_ns;  /* when the watchdog asked whether the loop still turns */
    int64_t ended_ns;  /* when a delivery that was found overdue ended, or 0 */
    int asked;         /* the loop answers it in its next turn */
    int reminded;      /* the time has come of which somebody wanted to be reminded; likewise */
    int sleeping;      /* the loop sleeps in the kernel, or is about to, or has just woken up */
    int parked;        /* the watchdog sleeps until this loop wakes up, and must be told */
    int overdue;       /* the step that runs now takes too long; set with the GIL only */
    int crowded;       /* so does the turn, though no step of it does; likewise */
};

#endif
