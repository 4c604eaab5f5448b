"""What a Keras user meets, feature by feature, beside what Keras does. ``make parity`` is the full run."""
