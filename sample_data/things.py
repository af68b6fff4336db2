"""What stands and lies in the sample town beside buildings and trees: the layers of its departments."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from shapely.affinity import rotate, translate

from sample_data import forms
from sample_data.plan import Plan, bearing, patch, place
from sample_data.terrain import Relief, river_y
from sample_data.town import House

Features = tuple[Sequence[Any], dict[str, Sequence[Any]]]
COUNTY, STREET = "140302", "001"
Rng = np.random.Generator


def roads(plan: Plan) -> Features:
    """Return the street segments."""
    streets = plan.streets
    speed = {"arterial": 50, "secondary": 40, "local": 30}
    return [s.line for s in streets], {
        "id": [f"R{k:04}" for k in range(1, len(streets) + 1)],
        "路名": [s.name for s in streets],
        "道路等级": [s.road_class for s in streets],
        "width_m": [s.width_m for s in streets],
        "限速": [speed[s.road_class] for s in streets],
    }


def districts(half_m: float) -> Features:
    """Return three county-level districts, divided by the river."""
    x = np.arange(-half_m, half_m + 1, 50.0, dtype=np.float64)
    axis = np.stack([x, river_y(x)], axis=1)
    north = shapely.Polygon([*axis, (half_m, half_m), (-half_m, half_m)])
    south = shapely.Polygon([*axis[::-1], (-half_m, -half_m), (half_m, -half_m)])
    inner = shapely.box(-0.62 * half_m, -2600, 0.62 * half_m, 2600)
    outside = shapely.box(-half_m, -half_m, half_m, half_m).difference(inner)
    return [north.intersection(inner), south.intersection(inner), outside], {
        "id": ["140302", "140303", "140311"],
        "name": ["城区", "矿区", "郊区"],
        "division_code": ["140302", "140303", "140311"],
        "level": ["county"] * 3,
    }


def grid_cells(plan: Plan) -> Features:
    """Return management grid cells: 6 digits county, 3 street, 3 community, 3 sequence, west → east, north → south."""
    cells = list(plan.cells())
    codes = [f"{COUNTY}{STREET}{community:03}{number:03}" for community, number, _ in cells]
    return [shape for _, _, shape in cells], {
        "id": codes,
        "网格编码": codes,
        "name": [f"{community_name(c)}第{n}网格" for c, n, _ in cells],
        "面积": [round(shape.area, 1) for _, _, shape in cells],
    }


_COMMUNITIES = ("德胜", "南大街", "新华", "义井", "赛鱼", "平坦", "洪城", "荫营", "桥头", "段南沟", "小河", "官沟")


def community_name(number: int) -> str:
    """Return the name of a community."""
    turn, k = divmod(number - 1, len(_COMMUNITIES))
    return f"{_COMMUNITIES[k]}{'二三四五'[turn - 1] if turn else ''}社区"


def parcels(plan: Plan, houses: Sequence[House]) -> Features:
    """Return a parcel a block, with the land use of most of its floor area."""
    use_of = {"residential": "居住用地", "commercial": "商业用地", "office": "商业用地", "industrial": "工业用地",
              "education": "公共设施用地", "medical": "公共设施用地", "public": "公共设施用地"}  # fmt: skip
    floors: dict[int, dict[str, float]] = {}
    for house in houses:
        by_use = floors.setdefault(house.block, {})
        by_use[house.use] = by_use.get(house.use, 0.0) + house.footprint.area * house.storeys
    blocks = list(plan.blocks())
    uses = [
        use_of[max(floors[k], key=lambda use: floors[k][use])] if floors.get(k) else "公园绿地"
        for k in range(len(blocks))
    ]
    limit = {"商业用地": 100.0, "居住用地": 80.0, "工业用地": 24.0, "公共设施用地": 36.0, "公园绿地": 9.0}
    return [b.polygon for b in blocks], {
        "id": [f"PC{k:04}" for k in range(1, len(blocks) + 1)],
        "name": [f"{k}号地块" for k in range(1, len(blocks) + 1)],
        "用地性质": uses,
        "宗地代码": [f"{COUNTY}{STREET}GB{k:05}" for k in range(1, len(blocks) + 1)],
        "面积": [round(b.polygon.area, 1) for b in blocks],
        "容积率": [3.2 if u in ("商业用地", "居住用地") else 1.2 for u in uses],
        "限高": [limit[u] for u in uses],
    }


def addresses(plan: Plan, houses: Sequence[House], cells: Features) -> Features:
    """Return an address a house: the nearest street and a number along it, odd on the left."""
    lines = [s.line for s in plan.streets]
    tree = shapely.STRtree(lines)
    centres = shapely.centroid([h.footprint for h in houses])
    nearest = tree.nearest(centres)
    pairs = shapely.STRtree(cells[0]).query(centres, "within")
    cell_of = dict(zip(pairs[0].tolist(), pairs[1].tolist(), strict=True))
    doors, names, codes = [], [], []
    seen: dict[str, int] = {}
    for k, (house, i) in enumerate(zip(houses, nearest.tolist(), strict=True)):
        street = plan.streets[i]
        door = shapely.get_coordinates(shapely.shortest_line(house.footprint, street.line))[0]
        seen[street.name] = seen.get(street.name, 0) + 1
        doors.append(shapely.Point(door))
        names.append(f"阳泉市城区{street.name}{seen[street.name]}号")
        codes.append(cells[1]["网格编码"][cell_of[k]] if k in cell_of else None)
    return doors, {"id": [f"A{k:06}" for k in range(1, len(doors) + 1)], "地址全称": names, "网格编码": codes}


def fire_stations() -> Features:
    """Return fire stations."""
    return [shapely.Point(place(540, 82)), shapely.Point(place(-600, -86))], {
        "id": ["FS1", "FS2"],
        "name": ["桃河消防救援站", "矿区特勤消防站"],
        "station_level": ["一级", "特勤"],
        "engines": [6, 9],
    }


def hospitals() -> Features:
    """Return hospitals."""
    return [shapely.Point(place(-330, 178)), shapely.Point(place(560, -178))], {
        "id": ["H1", "H2"],
        "name": ["阳泉样例第一医院", "矿区总医院"],
        "hospital_level": ["三级甲等", "二级甲等"],
        "beds": [820, 410],
    }


def shelters() -> Features:
    """Return shelters: the park, two squares, a school's ground."""
    places = [(330, 110), (-120, -128), (610, 240), (-560, 250)]
    return [shapely.Point(place(s, t)) for s, t in places], {
        "id": ["S1", "S2", "S3", "S4"],
        "name": ["西河公园", "义井广场", "洪城体育场", "赛鱼中学操场"],
        "类别": ["固定", "紧急", "中心", "紧急"],
        "容纳人数": [4200, 1500, 9600, 1800],
    }


def schools() -> Features:
    """Return schools and kindergartens."""
    rows = (
        ("阳泉市第一中学", "中学", 2400, -330, 240),
        ("德胜街小学", "小学", 1250, -120, 206),
        ("义井幼儿园", "幼儿园", 260, 60, -150),
        ("矿区第三小学", "小学", 980, -520, -204),
        ("洪城路中学", "中学", 1600, 520, -260),
        ("北山职业学校", "职业学校", 1900, 480, 300),
    )
    return [shapely.Point(place(s, t)) for *_, s, t in rows], {
        "id": [f"SC{k}" for k in range(1, len(rows) + 1)],
        "学校名称": [r[0] for r in rows],
        "学校类别": [r[1] for r in rows],
        "学生数": [r[2] for r in rows],
    }


def hazardous_sites() -> Features:
    """Return sites of hazardous goods."""
    rows = (
        ("桃南加油站", "汽油", 90.0, "四级", 610, -80),
        ("矿区液化气站", "液化石油气", 60.0, "三级", -690, -290),
        ("义井水厂加氯间", "液氯", 6.0, "三级", 380, -300),
        ("机修厂油库", "柴油", 220.0, "四级", -560, -300),
    )
    return [shapely.Point(place(s, t)) for *_, s, t in rows], {
        "id": [f"HZ{k}" for k in range(1, len(rows) + 1)],
        "企业名称": [r[0] for r in rows],
        "危险物质": [r[1] for r in rows],
        "存量": [r[2] for r in rows],
        "等级": [r[3] for r in rows],
        "电话": [f"0353-000{k}119" for k in range(1, len(rows) + 1)],
    }


def service_points() -> Features:
    """Return halls and terminals."""
    rows = (
        ("市民中心政务大厅", "政务大厅", "09:00-17:00", 105, 106),
        ("德胜街自助终端", "自助终端", "24 h", -60, 184),
        ("南大街自助终端", "自助终端", "24 h", 150, -184),
        ("义井养老服务站", "养老服务", "08:00-18:00", 20, -250),
        ("新华社会救助站", "社会救助", "09:00-17:00", 460, 240),
    )
    return [shapely.Point(place(s, t)) for *_, s, t in rows], {
        "id": [f"SP{k}" for k in range(1, len(rows) + 1)],
        "名称": [r[0] for r in rows],
        "服务": [r[1] for r in rows],
        "开放时间": [r[2] for r in rows],
    }


def cameras(plan: Plan, rng: Rng) -> Features:
    """Return cameras at crossings and along the larger streets, each looking along its street."""
    points, names, heights, azimuths = [], [], [], []
    for street in plan.streets:
        spacing = {"arterial": 75.0, "secondary": 95.0}.get(street.road_class, 170.0)
        for k, at in enumerate(np.arange(6.0, max(street.line.length - 5.0, 7.0), spacing), 1):
            here, ahead = street.line.interpolate(at), street.line.interpolate(at + 3.0)
            along = math.atan2(ahead.y - here.y, ahead.x - here.x)
            side = street.width_m / 2 + 0.6
            points.append(translate(here, -math.sin(along) * side, math.cos(along) * side))
            names.append(f"{street.name}{k}号机位")
            heights.append(4.5 if street.road_class == "local" else 6.5)
            azimuths.append(round((90.0 - math.degrees(along) + float(rng.normal(0, 12))) % 360.0, 1))
    count = len(points)
    return points, {
        "id": [f"CAM{k:05}" for k in range(1, count + 1)],
        "name": names,
        "device_id": [f"{COUNTY}00001320{k:06}" for k in range(1, count + 1)],
        "mount_height_m": heights,
        "azimuth_deg": azimuths,
        "fov": rng.choice([48.0, 62.0, 90.0], count).tolist(),
    }


def hydrants(plan: Plan) -> Features:
    """Return hydrants, every 110 m along the streets."""
    points, names = [], []
    for street in plan.streets:
        if street.bridge:
            continue
        for at in np.arange(35.0, street.line.length, 110.0):
            here, ahead = street.line.interpolate(at), street.line.interpolate(at + 1.0)
            along = math.atan2(ahead.y - here.y, ahead.x - here.x)
            side = -(street.width_m / 2 + 1.0)
            points.append(translate(here, -math.sin(along) * side, math.cos(along) * side))
            names.append(f"{street.name}消火栓{len(points)}")
    return points, {"id": [f"HY{k:04}" for k in range(1, len(points) + 1)], "名称": names}


def parking_lots(plan: Plan, houses: Sequence[House], rng: Rng) -> Features:
    """Return lots in the blocks, where there is room for them."""
    blocked = shapely.STRtree([h.footprint for h in houses])
    shapes: list[Any] = []
    wanted = 14 if len(houses) < 2000 else 160
    blocks = [b for b in plan.blocks() if abs(b.middle[1]) < 320]
    for _ in range(wanted * 300):
        block = blocks[int(rng.integers(len(blocks)))]
        s, t = float(rng.uniform(*block.s)), float(rng.uniform(*block.t))
        w, d = float(rng.choice([22.5, 30.0, 37.5])), float(rng.choice([16.6, 16.6, 22.0]))
        shape = forms.put(forms.rectangle(w, d), place(s, t), bearing(s, t))
        if not block.polygon.contains(shape) or blocked.query(shape, "dwithin", distance=2.0).size:
            continue
        if not any(shape.dwithin(other, 45.0) for other in shapes):
            shapes.append(shape)
        if len(shapes) == wanted:
            break
    count = len(shapes)
    return shapes, {
        "id": [f"P{k:02}" for k in range(1, count + 1)],
        "name": [f"{k}号公共停车场" for k in range(1, count + 1)],
        "泊位数": [len(_bays(shape)) for shape in shapes],
    }


def _bays(lot: Any) -> list[Any]:
    """Return the bays of a lot: a row along each long side, 2.5 × 5.3 m each."""
    corners = shapely.get_coordinates(lot)[:4]
    u, v = corners[1] - corners[0], corners[3] - corners[0]
    long, deep = float(np.hypot(*u)), float(np.hypot(*v))
    angle = math.atan2(u[1], u[0])
    made = []
    for row in (0.0, deep - 5.3):
        for k in range(int((long - 0.1) // 2.5)):
            bay = shapely.box(k * 2.5 + 0.05, row, k * 2.5 + 2.45, row + 5.3)
            made.append(translate(rotate(bay, angle, origin=(0, 0), use_radians=True), *corners[0]))
    return made


def parking_spaces(lots: Features, rng: Rng) -> Features:
    """Return the bays of the lots."""
    shapes, owner = [], []
    for shape, identifier in zip(lots[0], lots[1]["id"], strict=True):
        bays = _bays(shape)
        shapes += bays
        owner += [identifier] * len(bays)
    count = len(shapes)
    return shapes, {
        "id": [f"PS{k:05}" for k in range(1, count + 1)],
        "泊位号": [f"{o}-{k:03}" for k, o in enumerate(owner, 1)],
        "停车场": owner,
        "充电桩": (rng.random(count) < 0.12).tolist(),
        "无障碍": (rng.random(count) < 0.03).tolist(),
    }


def components(plan: Plan, rng: Rng) -> Features:
    """Return lamps, manholes, bins and signs along the streets, with 16-digit codes."""
    kinds = (
        ("路灯", "01", "03"),
        ("雨水箅子", "01", "02"),
        ("污水井盖", "01", "01"),
        ("公交站牌", "02", "05"),
        ("垃圾箱", "03", "02"),
        ("行道树池", "04", "01"),
    )
    points, names, codes, classes = [], [], [], []
    for street in plan.streets:
        for at in np.arange(10.0, street.line.length, 32.0 if street.road_class != "local" else 64.0):
            name, main, sub = kinds[int(rng.integers(len(kinds)))]
            here, ahead = street.line.interpolate(at), street.line.interpolate(at + 1.0)
            along = math.atan2(ahead.y - here.y, ahead.x - here.x)
            side = (street.width_m / 2 + 0.4) * float(rng.choice([-1.0, 1.0]))
            points.append(translate(here, -math.sin(along) * side, math.cos(along) * side))
            names.append(name)
            codes.append(f"{COUNTY}{main}{sub}{len(points):06}")
            classes.append(main)
    return points, {
        "id": codes,
        "部件名称": names,
        "部件编码": codes,
        "大类": classes,
        "主管部门": rng.choice(["市政", "环卫", "园林", "交警"], len(points)).tolist(),
    }


def pipelines(plan: Plan) -> Features:
    """Return water, sewage, gas and heat pipes under the streets, each beside the other."""
    media = (
        ("JS", 300, "球墨铸铁", 1.4, -1.2),
        ("WS", 500, "混凝土", 2.6, 1.0),
        ("RQ", 200, "PE", 1.1, -2.4),
        ("RL", 400, "钢", 1.6, 2.3),
    )
    shapes: list[Any] = []
    columns: dict[str, list[Any]] = {name: [] for name in ("id", "名称", "管线类别", "管径", "材质", "埋深")}
    for number, street in enumerate(plan.streets, 1):
        for code, diameter, made_of, depth, shift in media:
            if street.bridge or (street.road_class == "local" and code in ("RQ", "RL")):
                continue
            pipe = shapely.offset_curve(street.line, shift)
            if pipe.geom_type != "LineString" or pipe.is_empty:
                continue
            shapes.append(pipe)
            row = (f"{code}{number:04}", f"{street.name}{code}", code, diameter, made_of, depth)
            for name, value in zip(columns, row, strict=True):
                columns[name].append(value)
    return shapes, dict(columns)


def survey_lines(plan: Plan, relief: Relief) -> Features:
    """Return kerbs of the streets as a survey draws them, with heights."""
    shapes, names = [], []
    for street in plan.streets:
        for side in (-1, 1):
            kerb = shapely.offset_curve(street.line, side * street.width_m / 2)
            if kerb.geom_type == "LineString" and not kerb.is_empty:
                xy = shapely.get_coordinates(kerb)
                shapes.append(shapely.LineString(np.column_stack([xy, np.round(relief.height(xy[:, 0], xy[:, 1]), 2)])))
                names.append("路边线")
    return shapes, {
        "id": [f"SL{k:05}" for k in range(1, len(shapes) + 1)],
        "类别": names,
        "编码": ["430210"] * len(shapes),
    }


def building_units(house: House, owner: str, base_m: float) -> Features:
    """Return four dwellings on each storey of a house, at their heights."""
    west, south, east, north = house.footprint.bounds
    x, y = (west + east) / 2, (south + north) / 2
    quarters = [(west, south, x, y), (x, south, east, y), (x, y, east, north), (west, y, x, north)]
    shapes, names, storeys = [], [], []
    for storey in range(1, house.storeys + 1):
        for door, quarter in enumerate(quarters, 1):
            room = house.footprint.intersection(shapely.box(*quarter)).buffer(-0.15, join_style="mitre")
            shapes.append(shapely.force_3d(room, round(base_m + (storey - 1) * house.storey_m, 2)))
            names.append(f"{storey:02}{door:02}室")
            storeys.append(storey)
    return shapes, {
        "id": [f"{owner}-{name}" for name in names],
        "户号": names,
        "楼号": [owner] * len(shapes),
        "楼层": storeys,
        "用途": [house.use] * len(shapes),
        "建筑面积": [round(shape.area, 1) for shape in shapes],
    }


def height_limits(plan: Plan) -> Features:
    """Return zones of height control: low by the river and on the slopes, high in the middle."""
    half, top = plan.extent.half_length_m, plan.extent.slope_m
    rows = (
        ("滨河控制区", 24.0, (-half, half), (-60, 60)),
        ("中心商务区", 150.0, (-220, 420), (62, 190)),
        ("北坡风貌区", 18.0, (-half, half), (318, top)),
    )
    return [patch(s, t, 30.0) for *_, s, t in rows], {
        "id": ["HL1", "HL2", "HL3"],
        "名称": [r[0] for r in rows],
        "限高": [r[1] for r in rows],
        "依据": ["阳泉样例控制性详细规划"] * 3,
    }


def projects(plan: Plan) -> Features:
    """Return construction projects on some blocks."""
    blocks = list(plan.blocks())
    some = [blocks[k] for k in (3, len(blocks) // 2, len(blocks) - 4)]
    return [b.polygon.buffer(-8) for b in some], {
        "id": ["PJ1", "PJ2", "PJ3"],
        "项目名称": ["棚户区改造一期", "停车综合楼", "北山小学扩建"],
        "项目代码": ["2024-140302-70-01-000001", "2024-140302-54-01-000002", "2024-140302-83-01-000003"],
        "阶段": ["施工许可", "工程建设许可", "立项用地规划许可"],
    }
