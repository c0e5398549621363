#!/bin/sh
# Adam in awk: finds the slope of a line. Usage: descent.sh LR BETA1 SEED STEPS

# What is no line of JSON goes to the log of the trial, runs/adamtune.db.descent.trials/trial-N.log.
echo "slope of a line with lr $1"

# A pruned trial gets SIGTERM, and so do all programs that it has started; what is left after five seconds is killed.
trap 'echo "stopped"; exit 1' TERM

awk -v lr="$1" -v beta1="$2" -v seed="$3" -v steps="$4" 'BEGIN {
    srand(seed); slope = rand(); beta2 = 0.999
    for (step = 1; step <= steps; step++) {
        x = rand(); y = 3 * x + rand() - 0.5; gradient = 2 * (slope * x - y) * x
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient^2
        slope -= lr * mean / (1 - beta1^step) / (sqrt(square / (1 - beta2^step)) + 1e-8)
        if (step % (steps / 10) == 0) {
            printf "{\"step\": %d, \"val_loss\": %.9g}\n", step, (slope - 3)^2 / 3
            fflush() # at once, so that the trial can be pruned
        }
    }
}'
