"""settings + model + GPU -> how a step is computed: decided once, priced by the estimate and obeyed by the job."""
