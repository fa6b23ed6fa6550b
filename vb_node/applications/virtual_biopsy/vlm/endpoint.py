"""A model behind a URL that speaks OpenAI's chat completions, such as vLLM does: pixels and prompts leave, no more."""

import json
import logging
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from vb_node.applications.virtual_biopsy.vlm.formats import BoxFormat
from vb_node.dicomweb.service import Answer, Service, exchange
from vb_node.errors import ConfigError, Later, NoAnswer
from vb_node.models.vision_language import Pixels, Question

log = logging.getLogger(__name__)

PATH = "/chat/completions"
TRIES, WAIT_S = 3, 1.0
BUSY = frozenset({408, 425, 429, *range(500, 600)})


class Busy(Later):
    """The endpoint answers that it cannot for now."""


@dataclass(frozen=True)
class Endpoint:
    """``service`` at ``.../v1`` serves a model by this name; ``batch`` questions are asked side by side."""

    service: Service
    served_model: str
    form: BoxFormat
    batch: int = 8
    max_new_tokens: int = 128
    longest_s: float = 120.0
    sleep: Callable[[float], None] = time.sleep

    @property
    def step_px(self) -> int:
        """Models that count in pixels must get pictures of their own step (Qwen2.5-VL's is 28), or they resize them."""
        return 28 if self.form.is_pixels else 32

    def ask(self, questions: Sequence[Question]) -> list[str]:
        """Answer up to ``batch`` questions.

        Raises
        ------
        ConfigError
            The endpoint refuses: url, model or key are wrong.
        Later
            It could not be reached, did not answer, or is busy, and so ``TRIES`` times.
        """
        with ThreadPoolExecutor(max(1, self.batch)) as pool:
            return list(pool.map(self._ask_patiently, questions))

    def _ask_patiently(self, question: Question) -> str:
        for attempt in range(1, TRIES):
            try:
                return self._ask_once(question)
            except Later as error:
                log.info("endpoint asked again", extra={"attempt": attempt, "reason": error.reason})
                self.sleep(WAIT_S * attempt)
        return self._ask_once(question)

    def _ask_once(self, question: Question) -> str:
        body = json.dumps(self._request(question)).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Content-Length": str(len(body))}
        answer = exchange(self.service, "POST", PATH, longest_s=self.longest_s, headers=headers, content=iter((body,)))
        self._refuse_status(answer)
        return self._text(answer)

    def _request(self, question: Question) -> dict[str, object]:
        seen = {"type": "image_url", "image_url": {"url": data_url(question.picture)}}
        asked = {"type": "text", "text": question.user}
        return {
            "model": self.served_model,
            "messages": [
                {"role": "system", "content": question.system},
                {"role": "user", "content": [seen, asked]},
            ],
            "max_tokens": self.max_new_tokens,
            "temperature": 0,
            "seed": 0,
        }

    def _refuse_status(self, answer: Answer) -> None:
        if answer.status in BUSY:
            raise Busy(f"{self.service} answers HTTP {answer.status}: it cannot for now")
        if answer.status != 200:
            advice = {401: "check the API key", 403: "check the API key", 404: "check url and served_model"}
            raise ConfigError(
                f"[virtual_biopsy.vlm] {self.service} answers HTTP {answer.status} where 200 was expected: "
                f"{advice.get(answer.status, 'check url, served_model and what its log says')}"
            )

    def _text(self, answer: Answer) -> str:
        try:
            return str(json.loads(answer.body)["choices"][0]["message"]["content"] or "")
        except (ValueError, RecursionError, TypeError, KeyError, IndexError) as error:
            raise NoAnswer(
                f"{self.service} answers {answer.content_type}, a chat completion in JSON was expected: does url end "
                "in /v1?"
            ) from error


def data_url(picture: Pixels) -> str:
    """Encode a picture as PNG, which holds its pixels and nothing that could be a name."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"
