"""A loop in JAX as a function; its optimizer gets the settings by name."""

import jax
import jax.numpy as jnp
import optax

import adamtune


@adamtune.trainable(metrics={"val_loss": "minimize"})
def train(run: adamtune.Run) -> None:
    """Regression of a wave with JAX and optax."""
    settings, width = run.settings, 32
    keys = jax.random.split(jax.random.key(run.seed), 3)
    inputs = jnp.linspace(-3, 3, 512)[:, None]
    target = jnp.sin(2 * inputs)
    weights = {
        "first": jax.random.normal(keys[0], (1, width)),
        "bias": jax.random.normal(keys[1], (width,)),
        "second": jax.random.normal(keys[2], (width, 1)) / width**0.5,
    }
    optimizer = optax.adamw(
        settings["lr"],
        b1=settings["beta1"],
        b2=settings["beta2"],
        eps=settings["eps"],
        weight_decay=settings["weight_decay"],
    )

    def loss(weights, rows):
        hidden = jnp.tanh(inputs[rows] @ weights["first"] + weights["bias"])
        return jnp.square(hidden @ weights["second"] - target[rows]).mean()

    @jax.jit
    def update(weights, state):
        gradients = jax.grad(loss)(weights, jnp.arange(0, 512, 2))
        changes, state = optimizer.update(gradients, state, weights)
        return optax.apply_updates(weights, changes), state

    state, steps = optimizer.init(weights), settings["steps"]
    for step in range(1, steps + 1):
        weights, state = update(weights, state)
        if step % max(1, steps // 10) == 0:
            run.report(step, val_loss=float(loss(weights, jnp.arange(1, 512, 2))))
