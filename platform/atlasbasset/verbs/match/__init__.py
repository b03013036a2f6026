"""Known motifs at the bases that matter (PWM-ISM)."""
