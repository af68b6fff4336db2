"""Which type and which geometry CityJSON 2.0 has for an object of a layer (https://www.cityjson.org/specs/2.0.1/).

A class that it doesn't have (a tag of OpenStreetMap, one of IFC, a type of an extension) is written as
GenericCityObject, which is of the standard; the class itself stays an attribute.
"""

from collections.abc import Sequence

GENERIC = "GenericCityObject"
# City Objects of the first level that stand alone; a CityObjectGroup doesn't, it has members
FIRST_LEVEL = frozenset(
    {GENERIC, "Bridge", "Building", "CityFurniture", "LandUse", "OtherConstruction", "PlantCover", "Railway", "Road"}
    | {"SolitaryVegetationObject", "TINRelief", "TransportSquare", "Tunnel", "WaterBody", "Waterway"}
)
# of the second level, which have a parent of the first, by that
SECOND_LEVEL = {
    "Building": frozenset(
        {"BuildingPart", "BuildingInstallation", "BuildingConstructiveElement", "BuildingFurniture"}
        | {"BuildingStorey", "BuildingRoom", "BuildingUnit"}
    ),
    "Bridge": frozenset(
        {"BridgePart", "BridgeInstallation", "BridgeConstructiveElement", "BridgeRoom", "BridgeFurniture"}
    ),
    "Tunnel": frozenset(
        {"TunnelPart", "TunnelInstallation", "TunnelConstructiveElement", "TunnelHollowSpace", "TunnelFurniture"}
    ),
}
# types whose surfaces enclose nothing: how those are written; all others have solids
SURFACE_OF = {
    **dict.fromkeys(("LandUse", "Railway", "Road", "TransportSquare", "Waterway"), "MultiSurface"),
    "TINRelief": "CompositeSurface",
}
LODS = frozenset({*"0123", *(f"{whole}.{tenth}" for whole in range(4) for tenth in range(4))})
FINEST = 3  # CityGML 3.0 has no LoD4; what stood in it is of LoD3


def whole_type(classes: Sequence[str]) -> str:
    """Return the type of an object that stands alone: the first of its classes that is one."""
    return next((name for name in classes if name in FIRST_LEVEL), GENERIC)


def part_type(parent_type: str, classes: Sequence[str]) -> str:
    """Return the type of a part of an object: the first of its classes that fits its parent's type."""
    return next((name for name in classes if name in SECOND_LEVEL.get(parent_type, ())), whole_type(classes))


def standard_lod(lod: str) -> str:
    """Return a level of detail as CityJSON numbers them: 0 to 3, or one of Biljecki's refinements (0.0 to 3.3)."""
    if lod in LODS:
        return lod
    try:
        return str(min(max(int(float(lod)), 0), FINEST))
    except ValueError:
        return "0"
