"""Talking in a browser: cut connections, reloads, two tabs, two people, no script, no mouse."""

from __future__ import annotations

from miniagent_redis import Message
from tests.browser.conftest import Browse
from tests.support.console_apps import Model
from tests.support.reading import Reader
from tests.support.sites import Relay, Site
from tests.support.waiting import until

ENTER, TAB, SHIFT = "\ue007", "\ue004", "\ue008"
HALF, WHOLE = "first half, ", "first half, second half"


def test_an_answer_is_read_as_it_is_given(site: Site, model: Model, browse: Browse) -> None:
    ada = Reader(browse(), site.url).open()
    ada.say("Tell it slowly")
    until(lambda: ada.live == HALF)
    assert ada.has("#stop")
    model.go_on.set()
    ada.wait_for("The answer is complete.")
    assert ada.text.count(WHOLE) == 1
    assert not ada.has("#stop")
    ada.say("How is the weather?")
    ada.wait_for("You said: Sunny in Paris.")  # while its tool may be shown as running
    ada.wait_until("#again button")
    assert "Sunny in Paris." in ada.find("details.call").text
    assert ada.complaints == []


def test_what_the_model_deliberates_is_folded_until_the_answer_is_there(
    site: Site, model: Model, browse: Browse
) -> None:
    ada = Reader(browse(), site.url).open()
    ada.say("Think, and tell it slowly")
    until(lambda: ada.live == HALF)
    assert "Which halves?" not in ada.text
    ada.find("#thinking summary").click()
    assert "Which halves?" in ada.text
    model.go_on.set()
    ada.wait_for("The answer is complete.")
    assert "Which halves?" not in ada.text
    ada.say("Tell it slowly")
    until(lambda: ada.text.count(WHOLE) == 2)
    assert not ada.has("#thinking")
    assert ada.complaints == []


def test_a_picture_in_a_message_is_shown(site: Site, browse: Browse) -> None:
    gif = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    picture = {"type": "image", "mime_type": "image/gif", "data": gif}
    with site.app.app_context():
        site.agents.for_user("ada").create_or_resume_session(session_id="s")
        site.agents.store.append_to_thread("s", [Message("user", [picture])])
    ada = Reader(browse(), site.url).open("/?id=s")
    assert ada.find(".said img").get_property("naturalWidth") == 1
    assert ada.complaints == []


def test_a_new_conversation_on_a_phone_begins_at_the_top(site: Site, browse: Browse) -> None:
    ada = Reader(browse(), site.url)
    ada.look(390, 700)
    ada.open()
    assert ada.driver.execute_script("return scrollY") == 0
    assert ada.driver.switch_to.active_element.tag_name == "body"
    ada.look(1000, 700)
    ada.open()
    assert ada.driver.switch_to.active_element.get_attribute("id") == "message"


def test_it_is_complete_once_behind_a_cut_on_another_instance_and_a_reload(
    site: Site, model: Model, redis_url: str, browse: Browse
) -> None:
    with Site(redis_url, model) as second, Relay(site.port) as relay:
        ada = Reader(browse(), relay.url).open()
        ada.say("Tell it slowly")
        until(lambda: ada.live == HALF)
        relay.port = second.port
        relay.cut()
        ada.wait_for("The connection is lost.")
        until(lambda: "The connection is lost." not in ada.text)
        assert ada.live == HALF
        ada.driver.refresh()
        until(lambda: ada.live == HALF)
        model.go_on.set()
        ada.wait_for("The answer is complete.")
        assert ada.text.count(WHOLE) == 1
        ada.driver.refresh()
        assert ada.text.count(WHOLE) == 1


def test_an_approval_from_a_second_browser(site: Site, browse: Browse) -> None:
    first, second = (Reader(browse(), site.url) for _ in "12")
    first.open().say("I want a refund")
    first.wait_for("refund waits for your approval")
    second.open("/waiting")
    second.find(".verdict button.main").click()
    second.wait_for("Nothing waits")
    first.wait_for("You said: order 7 was paid back")
    assert not first.has(".verdict")


def test_a_session_is_followed_while_somebody_else_talks(
    site: Site, model: Model, browse: Browse
) -> None:
    ada, root = (Reader(browse(), site.url) for _ in "12")
    ada.open().say("Hello")
    ada.wait_for("You said: Hello")
    ada.wait_until("#again button")
    root.open("/sessions")
    root.find("td.title a").click()
    root.wait_for("You said: Hello")
    root.find("input[name=title]").send_keys("being wri")
    ada.say("Tell it slowly")
    until(lambda: root.live == HALF)
    root.wait_for("Tell it slowly")
    model.go_on.set()
    root.wait_for("second half")
    until(lambda: not root.has("#live"))
    assert root.text.count(WHOLE) == 1
    assert root.find("input[name=title]").get_attribute("value").endswith("being wri")
    ada.say("I want a refund")
    root.wait_for("refund waits for your approval")
    root.find(".verdict button.main").click()
    for reader in (ada, root):
        reader.wait_for("You said: order 7 was paid back")
    assert ada.complaints == root.complaints == []


def test_what_others_write_is_nothing_but_text(site: Site, browse: Browse) -> None:
    evil = "<img src=x onerror='window.pwned=1'><script>window.pwned=1</script> \x1b[31m slowly"
    ada = Reader(browse(), site.url).open()
    ada.driver.execute_script("document.getElementById('message').value = arguments[0]", evil)
    ada.find("#say button").click()
    until(lambda: ada.live == HALF)
    with site.app.app_context():
        (listed,) = site.agents.unbound.list_sessions()
        session_id = listed["session_id"]
        site.agents.for_user("ada").cancel(session_id)
    ada.wait_for("Ended early")
    assert evil[:60] in ada.text
    for path in ("/sessions", f"/session?id={session_id}", f"/session/keys?id={session_id}"):
        ada.open(path)
        assert ada.driver.execute_script("return window.pwned") is None
        assert not ada.has("main img, main script")
    assert ada.complaints == []


def test_an_agent_is_chosen_for_a_new_conversation(
    redis_url: str, model: Model, browse: Browse
) -> None:
    other = Model()
    other.answers = {"Hello": "Good morning to you."}
    with Site(redis_url, model, others={"butler": other}) as site:
        ada = Reader(browse(), site.url).open()
        ada.find("select[name=agent] option:nth-child(2)").click()
        ada.say("Hello")
        ada.wait_for("Good morning to you.")
        assert not ada.has("select[name=agent]")
        ada.open().say("Hello")
        ada.wait_for("You said: Hello")


def test_a_message_is_edited_and_answered_again(site: Site, model: Model, browse: Browse) -> None:
    ada = Reader(browse(), site.url).open()
    for text in ("one", "two"):
        ada.say(text)
        ada.wait_for(f"You said: {text}")
    model.answers["two"] = "something better"
    ada.wait_until("#again button")
    ada.find("#again button").click()
    ada.wait_for("something better")
    ada.wait_until("#again button")
    assert "You said: two" not in ada.text
    ada.driver.execute_script("scrollTo(0, 0)")  # else it may be below the bar
    ada.find("details.again summary").click()
    field = ada.find("details.again textarea")
    assert field.get_attribute("value") == "one"
    field.send_keys(" more")
    ada.find("details.again button").click()
    ada.wait_for("You said: one more")
    assert "something better" not in ada.text
    assert ada.complaints == []


def test_two_tabs_show_the_same(site: Site, browse: Browse) -> None:
    driver = browse()
    first = Reader(driver, site.url).open()
    first.say("one")
    first.wait_for("You said: one")
    here, where = driver.current_window_handle, driver.current_url
    driver.switch_to.new_window("tab")
    other = Reader(driver, site.url).open(where)
    other.say("two")
    other.wait_for("You said: two")
    driver.switch_to.window(here)
    first.wait_for("You said: two")
    first.find("#message").send_keys("not lost")
    driver.switch_to.window(driver.window_handles[1])
    other.say("three")
    other.wait_for("You said: three")
    driver.switch_to.window(here)
    first.wait_for("You said: three")
    assert first.find("#message").get_attribute("value") == "not lost"


def test_stopping_keeps_what_there_is(site: Site, browse: Browse) -> None:
    ada = Reader(browse(), site.url).open()
    ada.say("Tell it slowly")
    until(lambda: ada.live == HALF)
    ada.find("#stop button").click()
    ada.wait_for("Ended early: cancelled")
    assert HALF.strip() in ada.text


def test_a_message_that_fails_is_not_lost(site: Site, browse: Browse) -> None:
    ada = Reader(browse(), site.url).open()
    ada.say("break, please")
    ada.wait_for("The model could not answer.")
    assert ada.find("#message").get_attribute("value") == "break, please"


def test_without_a_script(site: Site, browse: Browse) -> None:
    ada = Reader(browse(javascript=False), site.url).open()
    ada.find("#message").send_keys("Hello")
    ada.find("#say button").click()
    ada.wait_for("You said: Hello")
    ada.find("#message").send_keys("I want a refund")
    ada.find("#say button").click()
    ada.wait_for("refund waits for your approval")
    ada.find(".verdict button.main").click()
    ada.wait_for("You said: order 7 was paid back")


def test_by_keyboard_alone(site: Site, browse: Browse) -> None:
    ada = Reader(browse(), site.url).open()
    ada.type("I want a refund", ENTER)  # the message has the focus from the beginning
    ada.wait_for("refund waits for your approval")
    move_to(ada, "Approve", SHIFT + TAB)
    ada.type(ENTER)
    ada.wait_for("You said: order 7 was paid back")
    ada.open("/sessions")
    ada.find("body").send_keys(TAB)
    assert ada.driver.switch_to.active_element.text == "Skip to the page"
    ada.type(ENTER)
    move_to(ada, "I want a refund", TAB)
    ada.type(ENTER)
    until(lambda: "/session?" in ada.driver.current_url)
    move_to(ada, "Remove…", TAB)
    ada.type(ENTER)
    until(lambda: "/confirm?" in ada.driver.current_url)
    move_to(ada, "Remove", TAB)
    ada.type(ENTER)
    ada.wait_for("The session is removed.")


def move_to(reader: Reader, text: str, keys: str) -> None:
    """Move the focus until it is on something with that text, and can be seen there."""
    for _ in range(40):
        reader.type(keys)
        element = reader.driver.switch_to.active_element
        if element.text == text:
            assert element.value_of_css_property("outline-style") == "solid"
            return
    raise AssertionError(f"{text} cannot be reached")
