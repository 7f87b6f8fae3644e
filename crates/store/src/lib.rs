//! What a broker must remember, as operations with completions.
