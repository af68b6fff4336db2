"""Unknown is not zero, and not yes: a figure that can't be told is null, with a reason that a person reads."""

from dataclasses import dataclass

from cim.catalog.model import Layer
from cim.catalog.row import Text


@dataclass(frozen=True)
class Unknown:
    """What stands in place of a value that can't be told."""

    reason: Text


def absent(layer: Layer) -> Unknown:
    """Say that nothing of the layer is stored, at that moment and place."""
    return Unknown(
        Text(
            zh=f"图层“{layer.title.zh}”在该时刻、该范围内没有数据",
            en=f"the layer {layer.title.en} holds nothing there then",
        )
    )


def out_of_reach(target: Text, distance_m: float, limit_m: float) -> Unknown:
    """Say that a place lies farther from what it needs than is believed."""
    return Unknown(
        Text(
            zh=f"距{target.zh} {distance_m:.0f} 米，超过 {limit_m:.0f} 米",
            en=f"{distance_m:.0f} m from {target.en}, more than {limit_m:.0f} m",
        )
    )


def unconnected(target: Text) -> Unknown:
    """Say that no way leads there."""
    return Unknown(Text(zh=f"没有到达{target.zh}的通路", en=f"no way leads to {target.en}"))


def too_few(count: int, least: int, subject: Text) -> Unknown:
    """Say that there are fewer values than the figure needs."""
    return Unknown(
        Text(
            zh=f"{subject.zh}只有 {count} 个，至少需要 {least} 个", en=f"{count} {subject.en}, at least {least} needed"
        )
    )


def unusable(count: int, subject: Text) -> Unknown:
    """Say that all values there are can't be."""
    return Unknown(Text(zh=f"{count} 个{subject.zh}都不可用", en=f"none of {count} {subject.en} can be used"))
