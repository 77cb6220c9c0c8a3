/* Everything is in place: begin. */
report.pick();
report.drawAll(false);
