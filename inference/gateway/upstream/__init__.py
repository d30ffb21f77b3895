"""The models that are asked: open chats, what happens where they fail, and answers that are kept."""
