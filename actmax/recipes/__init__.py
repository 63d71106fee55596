"""Short programs for named experiments: `python -m actmax.recipes.mnist_digits --out DIR`.

Each says what was done, where, and what of it is one line here. The first five are those of
MachineCurve, Visualizing Keras model inputs with Activation Maximization, 2019.
"""
