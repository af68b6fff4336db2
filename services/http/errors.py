"""Our errors as problems over HTTP (RFC 9457): one table, one answer, in the language of who asks."""

from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cim import errors
from cim.messages import say, told
from services.http.ask import language


class Problem(NamedTuple):
    """A kind of error as RFC 9457 has it: its status (RFC 9110, section 15) and its title, the same each time."""

    status: int
    zh: str
    en: str


HEADERS = {
    401: {"WWW-Authenticate": 'Basic realm="cim", charset="UTF-8"'},
    429: {"Retry-After": "30"},
    503: {"Retry-After": "30"},
}
PROBLEMS: dict[type[errors.CimError], Problem] = {
    # what was asked can't be read, or isn't there
    errors.BadRequest: Problem(400, "请求无法识别", "The request can't be read"),
    errors.UnknownCrs: Problem(400, "坐标系未说明或无法识别", "No CRS is named, or none that is known"),
    errors.UnknownKey: Problem(401, "未登录或密钥无效", "Nobody is signed in, or the key is nobody's"),
    errors.NotAllowed: Problem(403, "权限不足", "The role isn't enough"),
    errors.NotFound: Problem(404, "没有找到", "Not found"),
    errors.UnknownLayer: Problem(404, "没有此图层", "No such layer"),
    errors.UnknownLoad: Problem(404, "没有此批次", "No such load"),
    errors.TooLarge: Problem(413, "过大", "Too large"),
    # what was sent can be read, but not used
    errors.BadSettings: Problem(422, "说明文件或参数无法使用", "What is declared of the data can't be used"),
    errors.BadBackup: Problem(422, "备份无法使用", "The backup can't be used"),
    errors.NoOperation: Problem(422, "没有可用的坐标转换", "No operation between the reference systems"),
    errors.NothingToLoad: Problem(422, "没有可入库的内容", "Nothing to load"),
    errors.UndecidableEncoding: Problem(422, "文字编码无法判定", "The encoding of text can't be told"),
    errors.UnknownAnchor: Problem(422, "未说明模型原点位置", "Nothing tells where the model stands"),
    errors.UnknownVerticalDatum: Problem(422, "高程基准未说明", "No vertical datum is named"),
    errors.UnreadableFile: Problem(422, "文件无法读取", "The file can't be read"),
    errors.WrongCity: Problem(422, "数据不在本市", "The data lies in another city"),
    # what is there already stands against it
    errors.CannotUndo: Problem(409, "批次不能撤回", "The load can't be taken back"),
    # it can be done later
    errors.TooManyJobs: Problem(429, "任务过多", "Too many jobs"),
    errors.LayerBusy: Problem(503, "图层正被写入", "The layer is being written into"),
    errors.NoDatabase: Problem(503, "数据库没有回应", "The database doesn't answer"),
    errors.TooManyDownloads: Problem(503, "下载过多", "Too many downloads"),
    # another server that this one asked
    errors.ServerFault: Problem(502, "另一服务器没有回应", "Another server doesn't answer"),
    # what only who runs the server can mend
    errors.BadCatalog: Problem(500, "服务器的目录有误", "The server's catalog is wrong"),
    errors.BadTileset: Problem(500, "服务器的瓦片有误", "The server's tiles are wrong"),
    errors.CannotListen: Problem(500, "服务器无法监听", "The server can't listen"),
    errors.FailedJob: Problem(500, "任务失败", "The job failed"),
    errors.MissingProgram: Problem(501, "服务器缺少程序", "The server misses a program"),
}


def lost_connection(request: Request, _: Exception) -> Response:
    """Answer that the database is away for the moment."""
    return answer(request, errors.NoDatabase(say("database-not-answer")))


def unusable_value(request: Request, fault: Exception) -> Response:
    """Answer that PostgreSQL can't take a value as it was given: a number beyond its type, a division by zero."""
    reason = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
    return answer(request, errors.BadRequest(say("value-cannot-used-was-given", reason=reason)))


def answer(request: Request, error: Exception) -> Response:
    """Answer an error of ours: what kind it is, what it says, and the setting that would give what is missing."""
    assert isinstance(error, errors.CimError)  # noqa: S101 - the application hands over no others
    problem, tongue = PROBLEMS[type(error)], language(request)
    body = {
        "type": type(error).__name__,
        "title": problem.zh if tongue == "zh" else problem.en,
        "status": problem.status,
        "detail": told(error.message, tongue),
    }
    if error.setting:
        body["setting"] = error.setting
    headers = {"Content-Language": tongue} | HEADERS.get(problem.status, {})
    return JSONResponse(body, problem.status, headers, media_type="application/problem+json")
