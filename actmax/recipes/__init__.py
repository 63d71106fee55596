"""Short programs for named experiments: `python -m actmax.recipes.mnist_digits --out DIR`.

Each says where the experiment comes from, and how it is done here. The first five are those of
MachineCurve, Visualizing Keras model inputs with Activation Maximization, 2019.
"""
