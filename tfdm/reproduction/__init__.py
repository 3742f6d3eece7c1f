"""The paper's tables and figures as data, and the engine that makes them."""
