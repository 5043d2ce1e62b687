"""The scheduler and what users hold: `StateGraph`, its compiled form, `YAMLEngine`, results."""
