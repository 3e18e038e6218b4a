"""A learning rate to look at: at token counts, beside other schedules, as a table, a sketch or a picture."""
