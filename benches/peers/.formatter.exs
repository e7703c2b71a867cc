[inputs: ["bench.exs", "src/*.ex"], line_length: 120]
